import { Logger } from '@nestjs/common';
import { Stripe } from 'stripe';
import type { Finding, LostTail, Outcome } from '../../domain/outcome.js';
import {
  Gateway,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type GatewayCallKind,
  type RefundRequest,
  type SentCall,
} from '../gateway.js';
import { toStripeAmount } from './stripe-amounts.js';
import { createStripe, type StripeAccess } from './stripe-client.js';
import { StripeHttpClient } from './stripe-http-client.js';
import { StripeLookups } from './stripe-lookups.js';
import {
  ABSENT,
  approved,
  CALL_KEY,
  CAPTURE_KEY,
  capturedOutcome,
  chargeOutcome,
  declined,
  KEY_TAKEN,
  PAYMENT_METHOD,
  REFUND_ID,
  refundOutcome,
  TRANSACTION_ID,
  UNKNOWN,
} from './stripe-outcomes.js';
import { AUTHENTICATION_REQUIRED, declineOf, stripeErrorRow, toStripeFailure } from './stripe.errors.js';

/**
 * Stripe may forget an idempotency key that is 24 hours old, and would then charge again. The hour in between is for
 * clocks that differ and for slow requests.
 */
const KEY_LIFETIME_MS = 23 * 3_600_000;

/**
 * Stripe's payment intents behind the port. Cards and card wallets only: other methods end days later, or on somebody
 * else's page.
 *
 * The gateway key is Stripe's idempotency key. While Stripe keeps it, sending the same call again is the surest way to
 * learn what became of it. An older call is looked up first, and sent only if Stripe has no trace of it.
 */
export class StripeGateway extends Gateway {
  readonly name = 'stripe';
  private readonly logger = new Logger(StripeGateway.name);
  private readonly stripe: Stripe;
  private readonly lookups: StripeLookups;

  constructor(
    access: StripeAccess,
    private readonly client = new StripeHttpClient(),
    now: () => number = Date.now,
  ) {
    super();
    // The service retries itself: it knows the deadline, and counts retries.
    this.stripe = createStripe(access, client, 0);
    this.lookups = new StripeLookups(this.stripe, now);
  }

  charge(request: ChargeRequest, signal: AbortSignal): Promise<Outcome> {
    const { gatewayKey, paymentMethod, captureMethod, currency } = request;
    const amount = toStripeAmount(request.amountMinor, currency);
    if (amount === null) return Promise.resolve(declined('amount_not_accepted'));
    return this.sendOnce({ kind: 'charge', request }, signal, async () => {
      const intent = await this.stripe.paymentIntents.create(
        {
          amount,
          currency: currency.toLowerCase(),
          payment_method: paymentMethod,
          allowed_payment_method_types: ['card'],
          capture_method: captureMethod,
          confirm: true,
          error_on_requires_action: true,
          metadata: chargeMetadata(request),
        },
        { idempotencyKey: gatewayKey },
      );
      return this.afterActing(() => this.confirmedCharge(intent, gatewayKey));
    });
  }

  capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome> {
    const { gatewayKey, reference, currency } = request;
    const amount = toStripeAmount(request.amountMinor, currency);
    if (amount === null) return Promise.resolve(declined('amount_not_accepted'));
    return this.ask({ kind: 'capture', request }, signal, async () => {
      const intent = await this.stripe.paymentIntents.capture(
        reference,
        { amount_to_capture: amount, metadata: { [CAPTURE_KEY]: gatewayKey } },
        { idempotencyKey: gatewayKey },
      );
      const outcome = capturedOutcome(intent, request);
      return outcome.kind === 'approved' ? outcome : UNKNOWN;
    });
  }

  cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome> {
    const { gatewayKey, reference } = request;
    return this.ask({ kind: 'cancel', request }, signal, async () => {
      const intent = await this.stripe.paymentIntents.cancel(reference, {}, { idempotencyKey: gatewayKey });
      return intent.status === 'canceled' ? approved(intent.id) : UNKNOWN;
    });
  }

  refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome> {
    const { gatewayKey, reference, currency } = request;
    const amount = toStripeAmount(request.amountMinor, currency);
    if (amount === null) return Promise.resolve(declined('amount_not_accepted'));
    return this.sendOnce({ kind: 'refund', request }, signal, async () => {
      const refund = await this.stripe.refunds.create(
        { payment_intent: reference, amount, metadata: refundMetadata(request) },
        { idempotencyKey: gatewayKey },
      );
      const outcome = refundOutcome(refund);
      // Stripe may have repeated an answer from hours ago. The refund's present state says more.
      return outcome.kind === 'unknown'
        ? this.afterActing(async () => refundOutcome(await this.stripe.refunds.retrieve(refund.id)))
        : outcome;
    });
  }

  /**
   * `absent` only if Stripe's record is complete and the call was last sent more than an hour ago, so that it cannot be
   * executed any more. A charge is absent if neither the search nor the last hour's list has it.
   */
  inquire(call: SentCall, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    return this.finding(signal, () => this.lookups.inquire(call, unknownSince));
  }

  /**
   * While Stripe surely knows the key, nothing has to be looked up: sending the call gives the first answer again, and
   * that does not lag, as Stripe's search does.
   */
  lookUp(call: SentCall, lost: LostTail, signal: AbortSignal): Promise<Finding> {
    if (this.lookups.ageMs(lost.since) < KEY_LIFETIME_MS) return Promise.resolve(ABSENT);
    return this.finding(signal, () => this.lookups.onRecord(call, lost));
  }

  /** For our own decisions about a call, under a key that Stripe would recognise. */
  private onRecord(call: SentCall, signal: AbortSignal): Promise<Finding> {
    return this.finding(signal, () => this.lookups.onRecord(call));
  }

  private finding(signal: AbortSignal, ask: () => Promise<Finding>): Promise<Finding> {
    return this.client.within(signal, async () => {
      try {
        return await ask();
      } catch (error) {
        return this.cannotLookUp(error);
      }
    });
  }

  /**
   * Sends a call that creates something. If Stripe may have forgotten its key, Stripe would act a second time, so the
   * call is looked up first.
   */
  private async sendOnce(
    call: SentCall,
    signal: AbortSignal,
    send: () => Promise<Outcome>,
  ): Promise<Outcome> {
    if (this.lookups.ageMs(call.request.sentSince) < KEY_LIFETIME_MS) return this.ask(call, signal, send);
    const finding = await this.onRecord(call, signal);
    if (finding.kind === 'absent') return this.ask(call, signal, send);
    // A failed lookup does not mean that the call had no effect.
    return finding.kind === 'unavailable' ? UNKNOWN : finding;
  }

  /** Sends a call, and turns an error into an outcome by the table. */
  private ask(call: SentCall, signal: AbortSignal, send: () => Promise<Outcome>): Promise<Outcome> {
    return this.client.within(signal, async () => {
      try {
        return await send();
      } catch (error) {
        return this.outcomeOfError(call, error, signal);
      }
    });
  }

  /** Stripe has taken the call, so an error of a later question does not mean that it had no effect. */
  private async afterActing(ask: () => Promise<Outcome>): Promise<Outcome> {
    try {
      return await ask();
    } catch (error) {
      this.cannotLookUp(error);
      return UNKNOWN;
    }
  }

  private async outcomeOfError(call: SentCall, error: unknown, signal: AbortSignal): Promise<Outcome> {
    const failed = toStripeFailure(error);
    if (failed === null) throw error;
    const row = stripeErrorRow(failed);
    this.log(row.log, `${call.kind}: ${row.name}`, error);
    switch (row.verdict) {
      case 'declined':
        return { kind: 'declined', failure: declineOf(failed, call.kind, row.code) };
      case 'unavailable':
      case 'unknown':
        return { kind: row.verdict };
      case 'look':
        return this.standing(call, signal);
      case 'key taken':
        return this.underTakenKey(call, signal);
    }
  }

  /** Stripe has a call under our key. If it is for the same money, it is ours. Whatever we find, it is not absent. */
  private async underTakenKey(call: SentCall, signal: AbortSignal): Promise<Outcome> {
    const finding = await this.onRecord(call, signal);
    return finding.kind === 'approved' || finding.kind === 'declined' ? finding : KEY_TAKEN;
  }

  /** What Stripe has on record, after it refused a call because of its object's state. */
  private async standing(call: SentCall, signal: AbortSignal): Promise<Outcome> {
    const finding = await this.onRecord(call, signal);
    switch (finding.kind) {
      case 'absent':
        return declined(
          call.kind === 'refund' ? 'refund_declined' : 'card_declined',
          STATE_MESSAGES[call.kind],
        );
      case 'unavailable':
        return UNKNOWN;
      case 'approved':
      case 'declined':
      case 'unknown':
        return finding;
    }
  }

  /** The outcome of a confirmed intent. One that waits for its customer is canceled first. */
  private async confirmedCharge(intent: Stripe.PaymentIntent, gatewayKey: string): Promise<Outcome> {
    const outcome = chargeOutcome(intent);
    if (outcome.kind !== 'unknown') return outcome;
    // Stripe may have repeated an answer from hours ago. The intent's present state says more.
    const current = await this.stripe.paymentIntents.retrieve(intent.id);
    if (current.status !== 'requires_action') return chargeOutcome(current);
    /*
     * `error_on_requires_action` should have made this an error. A declined payment must never succeed later, and this
     * intent still could. So it counts as declined only once it is canceled. The key makes the cancel repeatable.
     */
    const canceled = await this.stripe.paymentIntents.cancel(
      intent.id,
      {},
      { idempotencyKey: `${gatewayKey}-cancel` },
    );
    return canceled.status === 'canceled' ? { kind: 'declined', failure: AUTHENTICATION_REQUIRED } : UNKNOWN;
  }

  /** `unavailable`: Stripe could not be asked, which says nothing about the call in question. */
  private cannotLookUp(error: unknown): Finding {
    const failed = toStripeFailure(error);
    if (failed === null) throw error;
    const row = stripeErrorRow(failed);
    this.log(row.log, `look up: ${row.name}`, error);
    return { kind: 'unavailable' };
  }

  /** Never logs an error's message: Stripe repeats parameters in it, and part of a wrong key. */
  private log(level: 'error' | 'warn' | undefined, what: string, error: unknown): void {
    if (level === undefined || !(error instanceof Stripe.errors.StripeError)) return;
    const { type, code, param, statusCode, requestId } = error;
    const details = { type, code, param, status: statusCode, request: requestId };
    this.logger[level](`${what} ${JSON.stringify(details)}`);
  }
}

/** The payment method is named because Stripe gives its own test tokens other names. */
function chargeMetadata({ gatewayKey, ids, paymentMethod }: ChargeRequest): Record<string, string> {
  if (ids !== null) return { [TRANSACTION_ID]: ids.transactionId, [CALL_KEY]: gatewayKey };
  return { [CALL_KEY]: gatewayKey, [PAYMENT_METHOD]: paymentMethod };
}

function refundMetadata({ gatewayKey, ids }: RefundRequest): Record<string, string> {
  if (ids !== null) return { [TRANSACTION_ID]: ids.transactionId, [REFUND_ID]: ids.refundId ?? '' };
  return { [CALL_KEY]: gatewayKey };
}

const STATE_MESSAGES: Readonly<Record<GatewayCallKind, string>> = {
  charge: 'The card was declined.',
  capture: 'The authorization is not valid any more.',
  cancel: 'The authorization cannot be given up any more.',
  refund: 'There is nothing left to give back.',
};
