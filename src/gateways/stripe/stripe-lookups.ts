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

/** Stripe's search is "in less than a minute" behind, and "up to an hour behind during outages". */
const SEARCH_LAG_MS = 3_600_000;
/** Stripe's clock against ours. */
const CLOCK_SKEW_MS = 300_000;
const PAGE_SIZE = 100;
/** How many pages of the latest payments are read to be sure that one is not among them. */
const MAX_PAGES = 10;

/** A call that Stripe may have on record. */
export type StripeInquiry = Omit<GatewayInquiry, 'unknownSince'>;

/** What Stripe has on record. */
export class StripeLookups {
  constructor(
    private readonly stripe: Stripe,
    private readonly now: () => number,
  ) {}

  /** As {@link onRecord}, but `absent` only when a call that was sent cannot be executed any more: then it is final. */
  async inquire(inquiry: GatewayInquiry): Promise<Finding> {
    const finding = await this.onRecord(inquiry);
    const isYoung = this.now() - inquiry.unknownSince.getTime() <= SEARCH_LAG_MS;
    return finding.kind === 'absent' && isYoung ? UNKNOWN : finding;
  }

  /** Asks by what we know: the reference, else our id. Throws the SDK's errors. */
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

  /** By our id in the metadata: the search for what is old, and the list, which does not lag, for what is new. */
  private async findCharge(transactionId: string): Promise<Finding> {
    const { data } = await this.stripe.paymentIntents.search({
      query: `metadata['${TRANSACTION_ID}']:'${transactionId}'`,
      limit: PAGE_SIZE,
    });
    const found = data.find(({ metadata }) => metadata[TRANSACTION_ID] === transactionId);
    // The search shows the intent as it was, the retrieval as it is.
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
      // A request of a moment ago may still be on its way, so a young payment is never absent.
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

  /** Milliseconds since one of our ids was made: they are UUIDv7, which begin with their time (RFC 9562 section 5.7). */
  ageMs(id: string): number {
    return this.now() - Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
  }
}
