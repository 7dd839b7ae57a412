import type { Stripe } from 'stripe';
import type { Finding, LostTail } from '../../domain/outcome.js';
import type { CaptureRequest, ChargeRequest, SentCall } from '../gateway.js';
import {
  ABSENT,
  approved,
  CALL_KEY,
  capturedOutcome,
  forgottenCharge,
  isRefundOf,
  recordedCharge,
  recordedRefund,
  UNKNOWN,
} from './stripe-outcomes.js';

/** Stripe's search lags by "less than a minute", and is "up to an hour behind during outages". */
const SEARCH_LAG_MS = 3_600_000;
/** Stripe's clock against ours. */
const CLOCK_SKEW_MS = 300_000;
const PAGE_SIZE = 100;
/** How many pages of the latest payments we read to be sure that one is missing. */
const MAX_PAGES = 10;

/** What Stripe has on record. */
export class StripeLookups {
  constructor(
    private readonly stripe: Stripe,
    private readonly now: () => number,
  ) {}

  /** Like {@link onRecord}, but `absent` is final: only if a call that was sent cannot be executed any more. */
  async inquire(call: SentCall, unknownSince: Date): Promise<Finding> {
    const finding = await this.onRecord(call);
    return finding.kind === 'absent' && this.ageMs(unknownSince) <= SEARCH_LAG_MS ? UNKNOWN : finding;
  }

  /**
   * Asks by the charge's reference if we know it, otherwise by our key. Throws the SDK's errors.
   * @param forgotten when the call was sent, if we have forgotten whether it was, and what came after it
   */
  async onRecord(call: SentCall, forgotten?: LostTail): Promise<Finding> {
    switch (call.kind) {
      case 'charge':
        return this.findCharge(call.request, forgotten);
      case 'capture':
        return capturedOutcome(await this.intent(call.request.reference), call.request);
      case 'cancel': {
        const intent = await this.intent(call.request.reference);
        return intent.status === 'canceled' ? approved(intent.id) : ABSENT;
      }
      case 'refund':
        return this.findRefund(call.request);
    }
  }

  /** By our key in the metadata. The search finds what is old. The list does not lag, and finds what is new. */
  private async findCharge(request: ChargeRequest, forgotten?: LostTail): Promise<Finding> {
    const { gatewayKey } = request;
    const { data } = await this.stripe.paymentIntents.search({
      query: `metadata['${CALL_KEY}']:'${gatewayKey}'`,
      limit: PAGE_SIZE,
    });
    const found = data.find(({ metadata }) => metadata[CALL_KEY] === gatewayKey);
    // The search shows an older state of the intent, the retrieval its present one.
    if (found !== undefined) {
      return forgotten === undefined
        ? recordedCharge(await this.intent(found.id), request)
        : forgottenCharge(await this.intent(found.id, ['latest_charge']), request);
    }
    const isIndexed = forgotten !== undefined && this.ageMs(forgotten.until) > SEARCH_LAG_MS;
    return isIndexed ? ABSENT : this.findLatestCharge(request);
  }

  private async findLatestCharge(request: ChargeRequest): Promise<Finding> {
    const { gatewayKey, sentSince } = request;
    const sinceMs = this.now() - Math.min(this.ageMs(sentSince), SEARCH_LAG_MS) - CLOCK_SKEW_MS;
    let after: string | undefined;
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const { data, has_more } = await this.stripe.paymentIntents.list({
        created: { gte: Math.floor(sinceMs / 1_000) },
        limit: PAGE_SIZE,
        ...(after !== undefined && { starting_after: after }),
      });
      const found = data.find(({ metadata }) => metadata[CALL_KEY] === gatewayKey);
      if (found !== undefined) return recordedCharge(found, request);
      // A recent request may still be on its way, so a young payment is never absent.
      if (!has_more) return this.ageMs(sentSince) > SEARCH_LAG_MS ? ABSENT : UNKNOWN;
      after = data.at(-1)?.id;
    }
    return UNKNOWN;
  }

  private async findRefund(request: CaptureRequest): Promise<Finding> {
    let after: string | undefined;
    for (let page = 1; page <= MAX_PAGES; page += 1) {
      const { data, has_more } = await this.stripe.refunds.list({
        payment_intent: request.reference,
        limit: PAGE_SIZE,
        ...(after !== undefined && { starting_after: after }),
      });
      const found = data.find((refund) => isRefundOf(refund, request));
      if (found !== undefined) return recordedRefund(found, request);
      if (!has_more) return ABSENT;
      after = data.at(-1)?.id;
    }
    return UNKNOWN;
  }

  ageMs(time: Date): number {
    return this.now() - time.getTime();
  }

  private intent(reference: string, expand: string[] = []): Promise<Stripe.PaymentIntent> {
    return this.stripe.paymentIntents.retrieve(reference, expand.length > 0 ? { expand } : {});
  }
}
