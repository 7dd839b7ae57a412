import { setTimeout as sleep } from 'node:timers/promises';
import type { DeclineCode } from '../../domain/errors.js';
import {
  Gateway,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type GatewayOutcome,
  type RefundRequest,
} from '../gateway.js';
import { SandboxBooks, type SandboxEffect } from './sandbox-books.js';

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
/** Only a payment that another sandbox made can be unknown here. */
const UNKNOWN_CHARGE: GatewayOutcome = { kind: 'declined', failure: UNKNOWN_METHOD };

/**
 * The provider for trying out: what it does depends on the payment method alone. Like a real one it acts once a key,
 * and it keeps books of its own, so that a test can count what really happened.
 */
export class SandboxGateway extends Gateway {
  readonly name = 'sandbox';

  constructor(private readonly books: SandboxBooks) {
    super();
  }

  async charge(request: ChargeRequest, signal: AbortSignal): Promise<GatewayOutcome> {
    switch (request.paymentMethod) {
      case 'pm_card_visa':
      case 'pm_card_refund_declined':
        return this.approve(request);
      case 'pm_gateway_slow':
        return this.approveSlowly(request, signal);
      case 'pm_gateway_unavailable':
        return { kind: 'unavailable' };
      case 'pm_gateway_flaky':
        return this.books.nextTry(request.idempotencyKey) === 1
          ? { kind: 'unavailable' }
          : this.approve(request);
      default:
        return { kind: 'declined', failure: DECLINES[request.paymentMethod] ?? UNKNOWN_METHOD };
    }
  }

  async capture(request: CaptureRequest): Promise<GatewayOutcome> {
    const charge = this.books.find(request.reference);
    if (charge === null) return UNKNOWN_CHARGE;
    return this.effect({ ...charge, ...request, kind: 'capture' });
  }

  async cancel(request: CancelRequest): Promise<GatewayOutcome> {
    const charge = this.books.find(request.reference);
    if (charge === null) return UNKNOWN_CHARGE;
    return this.effect({ ...charge, ...request, kind: 'void' });
  }

  async refund(request: RefundRequest): Promise<GatewayOutcome> {
    const charge = this.books.find(request.reference);
    if (charge === null) return UNKNOWN_CHARGE;
    if (charge.paymentMethod === 'pm_card_refund_declined')
      return { kind: 'declined', failure: REFUND_DECLINED };
    return this.effect({ ...charge, ...request, kind: 'refund' });
  }

  private approve(request: ChargeRequest): GatewayOutcome {
    return this.effect({ ...request, kind: request.captureMethod === 'manual' ? 'authorization' : 'charge' });
  }

  private effect(effect: SandboxEffect): GatewayOutcome {
    return { kind: 'approved', reference: this.books.record(effect) };
  }

  /** Takes the money at once and answers late, as a provider does whose answer is what is slow. */
  private async approveSlowly(request: ChargeRequest, signal: AbortSignal): Promise<GatewayOutcome> {
    const outcome = this.approve(request);
    try {
      await sleep(SLOW_MS, undefined, { signal });
    } catch {
      return { kind: 'unknown' };
    }
    return outcome;
  }
}
