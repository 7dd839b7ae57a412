import { Logger } from '@nestjs/common';
import { Stripe } from 'stripe';
import type { Finding, Outcome } from '../../domain/outcome.js';
import {
  Gateway,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type GatewayCallKind,
  type GatewayInquiry,
  type RefundRequest,
} from '../gateway.js';
import { toStripeAmount } from './stripe-amounts.js';
import { createStripe, type StripeAccess } from './stripe-client.js';
import { StripeHttpClient } from './stripe-http-client.js';
import { StripeLookups, type StripeInquiry } from './stripe-lookups.js';
import {
  approved,
  CAPTURE_KEY,
  capturedOutcome,
  CHARGE_KEY,
  chargeOutcome,
  declined,
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
    const { gatewayKey, transactionId, paymentMethod, captureMethod, currency } = request;
    const amount = toStripeAmount(request.amountMinor, currency);
    if (amount === null) return Promise.resolve(declined('amount_not_accepted'));
    const inquiry: StripeInquiry = {
      kind: 'charge',
      gatewayKey,
      transactionId,
      refundId: null,
      reference: null,
    };
    return this.sendOnce(inquiry, transactionId, signal, async () => {
      const intent = await this.stripe.paymentIntents.create(
        {
          amount,
          currency: currency.toLowerCase(),
          payment_method: paymentMethod,
          allowed_payment_method_types: ['card'],
          capture_method: captureMethod,
          confirm: true,
          error_on_requires_action: true,
          metadata: { [TRANSACTION_ID]: transactionId, [CHARGE_KEY]: gatewayKey },
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
    const inquiry: StripeInquiry = { ...request, kind: 'capture', refundId: null };
    return this.ask(inquiry, signal, async () => {
      const intent = await this.stripe.paymentIntents.capture(
        reference,
        { amount_to_capture: amount, metadata: { [CAPTURE_KEY]: gatewayKey } },
        { idempotencyKey: gatewayKey },
      );
      const outcome = capturedOutcome(intent, gatewayKey);
      return outcome.kind === 'approved' ? outcome : UNKNOWN;
    });
  }

  cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome> {
    const { gatewayKey, reference } = request;
    const inquiry: StripeInquiry = { ...request, kind: 'cancel', refundId: null };
    return this.ask(inquiry, signal, async () => {
      const intent = await this.stripe.paymentIntents.cancel(reference, {}, { idempotencyKey: gatewayKey });
      return intent.status === 'canceled' ? approved(intent.id) : UNKNOWN;
    });
  }

  refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome> {
    const { gatewayKey, transactionId, refundId, reference, currency } = request;
    const amount = toStripeAmount(request.amountMinor, currency);
    if (amount === null) return Promise.resolve(declined('amount_not_accepted'));
    return this.sendOnce({ ...request, kind: 'refund' }, refundId, signal, async () => {
      const refund = await this.stripe.refunds.create(
        {
          payment_intent: reference,
          amount,
          metadata: { [TRANSACTION_ID]: transactionId, [REFUND_ID]: refundId },
        },
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
   * executed any more. A charge without a reference is absent if neither the search nor the last hour's list has it.
   */
  inquire(inquiry: GatewayInquiry, signal: AbortSignal): Promise<Finding> {
    return this.lookUp(signal, () => this.lookups.inquire(inquiry));
  }

  /** What Stripe has on record now, for our own decisions about a call. */
  private onRecord(inquiry: StripeInquiry, signal: AbortSignal): Promise<Finding> {
    return this.lookUp(signal, () => this.lookups.onRecord(inquiry));
  }

  private lookUp(signal: AbortSignal, ask: () => Promise<Finding>): Promise<Finding> {
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
   * call is looked up first. The age is that of our id, which is older than any try.
   */
  private async sendOnce(
    inquiry: StripeInquiry,
    id: string,
    signal: AbortSignal,
    send: () => Promise<Outcome>,
  ): Promise<Outcome> {
    if (this.lookups.ageMs(id) < KEY_LIFETIME_MS) return this.ask(inquiry, signal, send);
    const finding = await this.onRecord(inquiry, signal);
    if (finding.kind === 'absent') return this.ask(inquiry, signal, send);
    // A failed lookup does not mean that the call had no effect.
    return finding.kind === 'unavailable' ? UNKNOWN : finding;
  }

  /** Sends a call, and turns an error into an outcome by the table. */
  private ask(inquiry: StripeInquiry, signal: AbortSignal, send: () => Promise<Outcome>): Promise<Outcome> {
    return this.client.within(signal, async () => {
      try {
        return await send();
      } catch (error) {
        return this.outcomeOfError(inquiry, error, signal);
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

  private async outcomeOfError(
    inquiry: StripeInquiry,
    error: unknown,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const failed = toStripeFailure(error);
    if (failed === null) throw error;
    const row = stripeErrorRow(failed);
    this.log(row.log, `${inquiry.kind}: ${row.name}`, error);
    switch (row.verdict) {
      case 'declined':
        return { kind: 'declined', failure: declineOf(failed, inquiry.kind, row.code) };
      case 'unavailable':
      case 'unknown':
        return { kind: row.verdict };
      case 'look':
        return this.standing(inquiry, signal);
    }
  }

  /** What Stripe has on record, after it refused a call because of its object's state. */
  private async standing(inquiry: StripeInquiry, signal: AbortSignal): Promise<Outcome> {
    const finding = await this.onRecord(inquiry, signal);
    switch (finding.kind) {
      case 'absent':
        return declined(
          inquiry.kind === 'refund' ? 'refund_declined' : 'card_declined',
          STATE_MESSAGES[inquiry.kind],
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

const STATE_MESSAGES: Readonly<Record<GatewayCallKind, string>> = {
  charge: 'The card was declined.',
  capture: 'The authorization is not valid any more.',
  cancel: 'The authorization cannot be given up any more.',
  refund: 'There is nothing left to give back.',
};
