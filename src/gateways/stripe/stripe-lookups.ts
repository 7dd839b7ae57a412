import type { Stripe } from 'stripe';
import type { Finding } from '../../domain/outcome.js';
import type { GatewayInquiry } from '../gateway.js';
import {
  ABSENT,
  approved,
  capturedOutcome,
  chargeOutcome,
  REFUND_ID,
  refundOutcome,
  TRANSACTION_ID,
  UNKNOWN,
} from './stripe-outcomes.js';

/** Stripe's search lags by "less than a minute", and is "up to an hour behind during outages". */
const SEARCH_LAG_MS = 3_600_000;
/** Stripe's clock against ours. */
const CLOCK_SKEW_MS = 300_000;
const PAGE_SIZE = 100;
/** How many pages of the latest payments we read to be sure that one is missing. */
const MAX_PAGES = 10;

/** An inquiry about what Stripe has on record now. */
export type StripeInquiry = Omit<GatewayInquiry, 'unknownSince'>;

/** What Stripe has on record. */
export class StripeLookups {
  constructor(
    private readonly stripe: Stripe,
    private readonly now: () => number,
  ) {}

  /**
   * Like {@link onRecord}, but `absent` is final: we return it only if a call that was sent can no longer be executed.
   */
  async inquire(inquiry: GatewayInquiry): Promise<Finding> {
    const finding = await this.onRecord(inquiry);
    const isYoung = this.now() - inquiry.unknownSince.getTime() <= SEARCH_LAG_MS;
    return finding.kind === 'absent' && isYoung ? UNKNOWN : finding;
  }

  /** Asks by the charge's reference if we know it, otherwise by our id. Throws the SDK's errors. */
  async onRecord(inquiry: StripeInquiry): Promise<Finding> {
    const { kind, reference } = inquiry;
    switch (kind) {
      case 'charge':
        if (reference !== null) return chargeOutcome(await this.stripe.paymentIntents.retrieve(reference));
        return this.findCharge(inquiry.transactionId);
      case 'capture':
        if (reference === null) return UNKNOWN;
        return capturedOutcome(await this.stripe.paymentIntents.retrieve(reference), inquiry.gatewayKey);
      case 'cancel': {
        if (reference === null) return UNKNOWN;
        const intent = await this.stripe.paymentIntents.retrieve(reference);
        return intent.status === 'canceled' ? approved(intent.id) : ABSENT;
      }
      case 'refund':
        if (reference === null || inquiry.refundId === null) return UNKNOWN;
        return this.findRefund(reference, inquiry.refundId);
    }
  }

  /** By our id in the metadata. The search finds what is old. The list does not lag, and finds what is new. */
  private async findCharge(transactionId: string): Promise<Finding> {
    const { data } = await this.stripe.paymentIntents.search({
      query: `metadata['${TRANSACTION_ID}']:'${transactionId}'`,
      limit: PAGE_SIZE,
    });
    const found = data.find(({ metadata }) => metadata[TRANSACTION_ID] === transactionId);
    // The search shows an older state of the intent, the retrieval its present one.
    if (found !== undefined) return chargeOutcome(await this.stripe.paymentIntents.retrieve(found.id));
    return this.findLatestCharge(transactionId);
  }

  private async findLatestCharge(transactionId: string): Promise<Finding> {
    const sinceMs = this.now() - Math.min(this.ageMs(transactionId), SEARCH_LAG_MS) - CLOCK_SKEW_MS;
    let after: string | undefined;
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const { data, has_more } = await this.stripe.paymentIntents.list({
        created: { gte: Math.floor(sinceMs / 1_000) },
        limit: PAGE_SIZE,
        ...(after !== undefined && { starting_after: after }),
      });
      const found = data.find(({ metadata }) => metadata[TRANSACTION_ID] === transactionId);
      if (found !== undefined) return chargeOutcome(found);
      // A recent request may still be on its way, so a young payment is never absent.
      if (!has_more) return this.ageMs(transactionId) > SEARCH_LAG_MS ? ABSENT : UNKNOWN;
      after = data.at(-1)?.id;
    }
    return UNKNOWN;
  }

  private async findRefund(reference: string, refundId: string): Promise<Finding> {
    let after: string | undefined;
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const { data, has_more } = await this.stripe.refunds.list({
        payment_intent: reference,
        limit: PAGE_SIZE,
        ...(after !== undefined && { starting_after: after }),
      });
      const found = data.find(({ metadata }) => metadata?.[REFUND_ID] === refundId);
      if (found !== undefined) return refundOutcome(found);
      if (!has_more) return ABSENT;
      after = data.at(-1)?.id;
    }
    return UNKNOWN;
  }

  /** Milliseconds since one of our ids was made: a UUIDv7 begins with its time (RFC 9562 section 5.7). */
  ageMs(id: string): number {
    return this.now() - Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
  }
}
