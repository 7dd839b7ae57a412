import { Stripe } from 'stripe';
import { validate as isUuid } from 'uuid';
import { StartupError } from '../../config/startup-error.js';
import {
  GatewayBooks,
  type EffectKind,
  type GatewayEffect,
  type PaymentInBooks,
  type TimeRange,
} from '../gateway-books.js';
import { fromStripeAmount } from './stripe-amounts.js';
import { createStripe, type StripeAccess } from './stripe-client.js';
import { StripeHttpClient } from './stripe-http-client.js';
import { CALL_KEY, CAPTURE_KEY, REFUND_ID, TRANSACTION_ID, wasAuthorized } from './stripe-outcomes.js';

/** Stripe's maximum. */
const PAGE_SIZE = 100;
/** Repeating a read is harmless, so here the SDK may retry. */
const MAX_NETWORK_RETRIES = 3;
/** For one request, including its retries. */
const ANSWER_LIMIT_MS = 60_000;
/** Payments looked up at once: far below the 25 reads a second that even Stripe's test mode takes. */
const MAX_CONCURRENT = 4;

/** Our charges and captures carry their key, so one without a key was made by somebody else. */
const NOT_OURS = '';

type PaymentOfIntent = Pick<GatewayEffect, 'chargeKey' | 'transactionId'>;

/** A refund's payment intent, expanded to an object. */
type IntentOf = Stripe.PaymentIntent | null;

/**
 * Stripe's payment intents and refunds as effects. An intent without our key in its metadata was made by somebody else
 * on the same account. It is left out, and so are its refunds. A refund of our intent counts even if made by hand.
 */
export class StripeBooks extends GatewayBooks {
  readonly name = 'stripe';
  private readonly client = new StripeHttpClient();
  private readonly stripe: Stripe;

  constructor(access: StripeAccess) {
    super();
    this.stripe = createStripe(access, this.client, MAX_NETWORK_RETRIES);
  }

  /**
   * In the order of Stripe's lists: intents, then refunds. An intent does not say when it was captured or canceled, so
   * all of its effects get the time of the intent.
   */
  async *effects(range: TimeRange): AsyncIterable<GatewayEffect[]> {
    const created = createdWithin(range);
    for await (const intents of this.pages(({ after }) =>
      this.stripe.paymentIntents.list({ ...created, ...after, expand: ['data.latest_charge'] }),
    )) {
      yield intents.flatMap(effectsOfIntent);
    }
    for await (const refunds of this.pages(({ after }) =>
      this.stripe.refunds.list({ ...created, ...after, expand: ['data.payment_intent'] }),
    )) {
      yield refunds.flatMap((refund) => effectsOfRefund(refund, refund.payment_intent as IntentOf));
    }
  }

  async effectsOf(payments: readonly PaymentInBooks[]): Promise<GatewayEffect[]> {
    const references = payments.flatMap(({ chargeReferences }) => chargeReferences);
    const found: GatewayEffect[] = [];
    for (let start = 0; start < references.length; start += MAX_CONCURRENT) {
      const some = references.slice(start, start + MAX_CONCURRENT);
      const effects = await Promise.all(some.map((reference) => this.effectsOfReference(reference)));
      found.push(...effects.flat());
    }
    return found;
  }

  close(): void {
    this.client.close();
  }

  private async effectsOfReference(reference: string): Promise<GatewayEffect[]> {
    const intent = await this.ask(() =>
      this.stripe.paymentIntents.retrieve(reference, { expand: ['latest_charge'] }),
    ).catch(nullIfMissing);
    if (intent === null) return [];
    const effects = effectsOfIntent(intent);
    for await (const refunds of this.pages(({ after }) =>
      this.stripe.refunds.list({ payment_intent: reference, ...after }),
    )) {
      effects.push(...refunds.flatMap((refund) => effectsOfRefund(refund, intent)));
    }
    return effects;
  }

  /** Each page is a request with its own deadline. */
  private async *pages<Item extends { id: string }>(
    list: (position: { after: { limit: number; starting_after?: string } }) => Promise<Stripe.ApiList<Item>>,
  ): AsyncIterable<Item[]> {
    let last: string | undefined;
    do {
      const after = { limit: PAGE_SIZE, ...(last !== undefined && { starting_after: last }) };
      const page: Stripe.ApiList<Item> = await this.ask(() => list({ after }));
      yield page.data;
      last = page.has_more ? page.data.at(-1)?.id : undefined;
    } while (last !== undefined);
  }

  private async ask<Answer>(request: () => Promise<Answer>): Promise<Answer> {
    try {
      return await this.client.within(AbortSignal.timeout(ANSWER_LIMIT_MS), request);
    } catch (error) {
      throw explained(error);
    }
  }
}

/** Stripe has no such object: it belongs to another account or mode. */
class NotAtStripeError extends StartupError {}

function nullIfMissing(error: unknown): null {
  if (error instanceof NotAtStripeError) return null;
  throw error;
}

/** Never quotes an error's message: Stripe repeats parameters in it, and part of a wrong key. */
function explained(error: unknown): unknown {
  if (!(error instanceof Stripe.errors.StripeError)) return error;
  const { type, code, statusCode } = error;
  const details = [type, code, statusCode].filter((detail) => detail !== undefined).join(', ');
  const Explained = code === 'resource_missing' ? NotAtStripeError : StartupError;
  return new Explained(`Stripe cannot be asked (${details}).`, { cause: error });
}

/** Stripe's times are whole seconds, so both ends are rounded outwards: an extra effect is compared, and agrees. */
function createdWithin({ from, to }: TimeRange): { created?: Stripe.RangeQueryParam } {
  if (from === null && to === null) return {};
  return {
    created: {
      ...(from !== null && { gte: Math.floor(from.getTime() / 1_000) }),
      ...(to !== null && { lt: Math.ceil(to.getTime() / 1_000) }),
    },
  };
}

/** An automatic payment is one effect. A manual one is its authorization and what ended it. */
function effectsOfIntent(intent: Stripe.PaymentIntent): GatewayEffect[] {
  const payment = paymentOf(intent);
  if (payment === null) return [];
  const key = payment.chargeKey ?? NOT_OURS;
  const effect = (kind: EffectKind, amount: number, gatewayKey: string | null): GatewayEffect => ({
    kind,
    reference: intent.id,
    chargeReference: intent.id,
    ...payment,
    refundId: null,
    gatewayKey,
    ...money(amount, intent.currency),
    at: new Date(intent.created * 1_000),
  });
  const authorization = effect('authorization', intent.amount, key);
  switch (intent.status) {
    case 'requires_capture':
      return [authorization];
    case 'succeeded':
      if (intent.capture_method !== 'manual') return [effect('charge', intent.amount_received, key)];
      return [
        authorization,
        effect('capture', intent.amount_received, intent.metadata[CAPTURE_KEY] ?? NOT_OURS),
      ];
    case 'canceled':
      return wasAuthorized(intent) ? [authorization, effect('void', intent.amount, null)] : [];
    // Declined, under way, or waiting for the customer: no money has moved.
    case 'requires_payment_method':
    case 'requires_confirmation':
    case 'requires_action':
    case 'processing':
    default:
      return [];
  }
}

/**
 * Which payment of ours an intent belongs to; null for somebody else's. Another service may use the same name in its
 * metadata, but hardly for a UUID.
 */
function paymentOf({ metadata }: Stripe.PaymentIntent): PaymentOfIntent | null {
  const transactionId = metadata[TRANSACTION_ID] ?? null;
  const key = metadata[CALL_KEY];
  const chargeKey = key !== undefined && isUuid(key) ? key : null;
  return transactionId === null && chargeKey === null ? null : { chargeKey, transactionId };
}

function effectsOfRefund(refund: Stripe.Refund, intent: IntentOf): GatewayEffect[] {
  const payment = intent && paymentOf(intent);
  if (intent === null || payment === null || refund.status !== 'succeeded') return [];
  const refundId = refund.metadata?.[REFUND_ID] ?? null;
  const gatewayKey = refund.metadata?.[CALL_KEY] ?? null;
  if (refundId === null && gatewayKey === null && isFreedAuthorization(refund, intent)) return [];
  return [
    {
      kind: 'refund',
      reference: refund.id,
      chargeReference: intent.id,
      ...payment,
      refundId,
      gatewayKey,
      ...money(refund.amount, refund.currency),
      at: new Date(refund.created * 1_000),
    },
  ];
}

/** Stripe also calls it a refund when it frees an amount that was authorized but not captured. No money came in. */
function isFreedAuthorization(refund: Stripe.Refund, intent: Stripe.PaymentIntent): boolean {
  return intent.status === 'canceled' || refund.amount === intent.amount - intent.amount_received;
}

function money(amount: number, currency: string): Pick<GatewayEffect, 'amountMinor' | 'currency'> {
  const code = currency.toUpperCase();
  return { amountMinor: fromStripeAmount(amount, code), currency: code };
}
