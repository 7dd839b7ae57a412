import { setTimeout as sleep } from 'node:timers/promises';
import type {
  LookupFault,
  SandboxCallName,
  SandboxFault,
  SandboxScript,
} from '../../config/sandbox-script.js';
import type { DeclineCode } from '../../domain/errors.js';
import type { CaptureMethod, PaymentFailure } from '../../domain/payment.js';
import type { SentIds } from '../gateway.js';
import type { RecordedCall, SandboxBooks, SandboxEffect } from './sandbox-books.js';
import type { SandboxNotifier } from './sandbox-notifier.js';
import { SandboxScriptRun, type CallPlan } from './sandbox-script-run.js';

const SLOW_MS = 3_000;

const DECLINES: Readonly<Record<string, { code: DeclineCode; message: string }>> = {
  pm_card_declined: { code: 'card_declined', message: 'The card was declined.' },
  pm_card_insufficient_funds: { code: 'insufficient_funds', message: 'The card has insufficient funds.' },
  pm_card_expired: { code: 'expired_card', message: 'The card has expired.' },
};
const UNKNOWN_METHOD = {
  code: 'invalid_payment_method',
  message: 'There is no such payment method.',
} as const;
const REFUND_DECLINED = { code: 'refund_declined', message: 'The card does not take refunds.' } as const;

interface SandboxChargeCall {
  gatewayKey: string;
  ids: SentIds | null;
  amountMinor: bigint;
  currency: string;
  paymentMethod: string;
  captureMethod: CaptureMethod;
}

/** A call about a charge, which it names by the provider's own id. */
interface SandboxVoidCall {
  gatewayKey: string;
  ids: SentIds | null;
  reference: string;
}

/** A capture or a refund. */
interface SandboxMoneyCall extends SandboxVoidCall {
  amountMinor: bigint;
  currency: string;
}

/** What the provider decided, and how long its answer takes. */
export interface SandboxReply {
  verdict: SandboxVerdict;
  delayMs: number;
}

/** A promise only if the call takes time to arrive: most are decided at once. */
export type Replying = SandboxReply | Promise<SandboxReply>;

/** `reused` and `closed` are about the key: it answered another request, or was reported absent. */
export type SandboxVerdict =
  | { kind: 'approved'; reference: string }
  | { kind: 'declined'; reference: string; failure: PaymentFailure }
  | { kind: 'unavailable' | 'error' | 'silence' | 'reset' | 'reused' | 'closed' };

export interface SandboxLookupReply {
  verdict: { kind: 'found'; call: RecordedCall } | { kind: 'absent' } | { kind: LookupFault };
  delayMs: number;
}

/** Faults before the call has its effect. */
const BEFORE: Readonly<Partial<Record<SandboxFault, SandboxVerdict>>> = {
  refuse: { kind: 'unavailable' },
  error_before: { kind: 'error' },
  silence_before: { kind: 'silence' },
  reset_before: { kind: 'reset' },
};
const AFTER: Readonly<Partial<Record<SandboxFault, SandboxVerdict>>> = {
  error_after: { kind: 'error' },
  silence_after: { kind: 'silence' },
  reset_after: { kind: 'reset' },
};

/**
 * The sandbox provider itself, in the service's process or behind HTTP. The payment method decides what it does, and so
 * does a script while one is playing. Like a real provider, it acts once per key.
 *
 * It does not limit captures or refunds: one capture too many must show in its books, and a pretend provider must not
 * catch it.
 */
export class SandboxEngine {
  private run: SandboxScriptRun | null;

  constructor(
    readonly books: SandboxBooks,
    private readonly notifier: SandboxNotifier | null = null,
    script: SandboxScript | null = null,
  ) {
    this.run = script === null ? null : new SandboxScriptRun(script);
  }

  /** Sets the script for all later calls, from its first call on. Null for none. */
  play(script: SandboxScript | null): void {
    this.run = script === null ? null : new SandboxScriptRun(script);
  }

  playing(): SandboxScriptRun | null {
    return this.run;
  }

  /** @param own a script for this call alone, instead of the one that is playing. */
  charge(call: SandboxChargeCall, own?: SandboxScript): Replying {
    const effect: SandboxEffect = {
      gatewayKey: call.gatewayKey,
      kind: call.captureMethod === 'manual' ? 'authorization' : 'charge',
      ...idsOf(call),
      chargeReference: null,
      amountMinor: call.amountMinor,
      currency: call.currency,
      paymentMethod: call.paymentMethod,
    };
    return this.perform('charge', own, (run) => this.decideCharge(effect, run));
  }

  capture(call: SandboxMoneyCall, own?: SandboxScript): Replying {
    return this.perform('capture', own, (run) => {
      const effect = this.later({ ...call, kind: 'capture' });
      return this.answer(effect, unknownCharge(effect), run);
    });
  }

  /** Gives up the whole authorization. */
  void(call: SandboxVoidCall, own?: SandboxScript): Replying {
    return this.perform('void', own, (run) => {
      const effect = this.later({ ...call, kind: 'void' });
      return this.answer(effect, unknownCharge(effect), run);
    });
  }

  refund(call: SandboxMoneyCall, own?: SandboxScript): Replying {
    return this.perform('refund', own, (run) => {
      const effect = this.later({ ...call, kind: 'refund' });
      const declined = effect.paymentMethod === 'pm_card_refund_declined' ? REFUND_DECLINED : null;
      return this.answer(effect, unknownCharge(effect) ?? declined, run);
    });
  }

  /**
   * What became of a key. `absent` is final: it closes the key, and a call that arrives with it later is refused.
   * Otherwise "absent" would only mean "not yet".
   */
  resolve(gatewayKey: string, own?: SandboxScript): SandboxLookupReply {
    return this.look(own, () => this.books.findOrClose(gatewayKey));
  }

  /** What is known of a key so far. It closes nothing: `absent` only means "not yet". */
  lookUp(gatewayKey: string, own?: SandboxScript): SandboxLookupReply {
    return this.look(own, () => this.books.findByKey(gatewayKey));
  }

  /**
   * Starts to send the notifications that an earlier process recorded but did not send.
   * @param notifyUrl where notifications go, unless the configuration says.
   */
  start(notifyUrl: string | null = null): void {
    this.notifier?.start(notifyUrl);
  }

  async close(): Promise<void> {
    await this.notifier?.stop();
    this.books.close();
  }

  private look(own: SandboxScript | undefined, find: () => RecordedCall | null): SandboxLookupReply {
    const run = own === undefined ? this.run : new SandboxScriptRun(own);
    const plan = run?.nextLookup();
    const delayMs = plan?.latencyMs ?? 0;
    if (plan?.fault) return { verdict: { kind: plan.fault }, delayMs };
    const call = find();
    return { verdict: call === null ? { kind: 'absent' } : { kind: 'found', call }, delayMs };
  }

  private perform(
    name: SandboxCallName,
    own: SandboxScript | undefined,
    decide: (run: SandboxScriptRun | null) => SandboxReply,
  ): Replying {
    const run = own === undefined ? this.run : new SandboxScriptRun(own);
    const plan = run?.nextCall(name);
    if (plan == null) return decide(run);
    const act = (): SandboxReply => disturb(plan, () => decide(run));
    return plan.arrivalMs > 0 ? sleep(plan.arrivalMs).then(act) : act();
  }

  private decideCharge(effect: SandboxEffect, run: SandboxScriptRun | null): SandboxReply {
    switch (effect.paymentMethod) {
      case 'pm_card_visa':
      case 'pm_card_refund_declined':
        return this.answer(effect, null, run);
      case 'pm_gateway_slow':
        // It acts at once. Only the answer is slow.
        return { ...this.answer(effect, null, run), delayMs: SLOW_MS };
      case 'pm_gateway_unavailable':
        return { verdict: { kind: 'unavailable' }, delayMs: 0 };
      case 'pm_gateway_flaky':
        if (this.books.nextTry(effect.gatewayKey) > 1) return this.answer(effect, null, run);
        return { verdict: { kind: 'unavailable' }, delayMs: 0 };
      case 'pm_gateway_timeout_before_charge':
        return { verdict: { kind: 'silence' }, delayMs: 0 };
      case 'pm_gateway_timeout_after_charge':
        return hide(this.answer(effect, null, run), { kind: 'silence' });
      case 'pm_gateway_error_after_charge':
        return hide(this.answer(effect, null, run), { kind: 'error' });
      default:
        return this.answer(effect, DECLINES[effect.paymentMethod] ?? UNKNOWN_METHOD, run);
    }
  }

  /** Records the decision. The reply is the first answer to the key. */
  private answer(
    effect: SandboxEffect,
    failure: PaymentFailure | null,
    run: SandboxScriptRun | null,
  ): SandboxReply {
    const plan = this.notifier?.plan(effect, run) ?? null;
    const recorded = this.books.record(effect, failure, plan);
    if (recorded.kind !== 'recorded') return { verdict: recorded, delayMs: 0 };
    if (recorded.isNew && plan !== null) this.notifier?.wake();
    const { reference } = recorded;
    return {
      verdict:
        recorded.failure === null
          ? { kind: 'approved', reference }
          : { kind: 'declined', reference, failure: recorded.failure },
      delayMs: 0,
    };
  }

  /**
   * An effect on a charge. If the charge is not in these books, there is no payment method and the call is declined.
   */
  private later(
    call: SandboxVoidCall & Partial<SandboxMoneyCall> & Pick<SandboxEffect, 'kind'>,
  ): SandboxEffect {
    const found = this.books.find(call.reference);
    const charge = found?.failure === null && found.chargeReference === null ? found : null;
    return {
      gatewayKey: call.gatewayKey,
      kind: call.kind,
      ...idsOf(call),
      chargeReference: call.reference,
      amountMinor: call.amountMinor ?? charge?.amountMinor ?? 0n,
      currency: call.currency ?? charge?.currency ?? '',
      paymentMethod: charge?.paymentMethod ?? '',
    };
  }
}

function idsOf({ ids }: { ids: SentIds | null }): Pick<SandboxEffect, 'transactionId' | 'refundId'> {
  return { transactionId: ids?.transactionId ?? null, refundId: ids?.refundId ?? null };
}

function unknownCharge({ paymentMethod }: SandboxEffect): PaymentFailure | null {
  return paymentMethod === '' ? UNKNOWN_METHOD : null;
}

function disturb({ fault, latencyMs }: CallPlan, decide: () => SandboxReply): SandboxReply {
  const before = fault === null ? undefined : BEFORE[fault];
  if (before !== undefined) return { verdict: before, delayMs: latencyMs };
  const { verdict, delayMs } = decide();
  const after = fault === null ? undefined : AFTER[fault];
  const reply = { verdict, delayMs: delayMs + latencyMs };
  return after === undefined ? reply : hide(reply, after);
}

/** Replaces a decision by a lie. What was refused because of its key is not hidden. */
function hide(reply: SandboxReply, lie: SandboxVerdict): SandboxReply {
  const { kind } = reply.verdict;
  return kind === 'approved' || kind === 'declined' ? { ...reply, verdict: lie } : reply;
}
