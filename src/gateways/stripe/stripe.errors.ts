import { Stripe } from 'stripe';
import type { DeclineCode } from '../../domain/errors.js';
import type { PaymentFailure } from '../../domain/payment.js';
import type { GatewayCallKind } from '../gateway.js';
import { StripeTransportError } from './stripe-http-client.js';

/** The parts of a Stripe error that the table needs. */
export interface StripeFailure {
  /** Stripe's `type`, such as `card_error`. Null without an answer, or with an unreadable one. */
  type: string | null;
  status: number | null;
  code: string | null;
  declineCode: string | null;
  param: string | null;
  /** The status of the payment intent in the error. */
  intentStatus: string | null;
  /** Set if there was no answer. */
  transport: Pick<StripeTransportError, 'sent' | 'timedOut'> | null;
}

/**
 * What follows from an error. `look`: the object is not in the state that the call needs, perhaps because an earlier
 * try of the same call changed it. What Stripe has on record decides between approved and declined. `key taken`: Stripe
 * knows our key with other parameters. If what it has under the key is for the same money, that is the outcome.
 */
export type StripeVerdict = 'declined' | 'unavailable' | 'unknown' | 'look' | 'key taken';

interface StripeErrorRow {
  name: string;
  when: (failure: StripeFailure) => boolean;
  verdict: StripeVerdict;
  /** Set if a person has to act, or should know. */
  log?: 'error' | 'warn';
  /** For `declined`: our code, unless the card's decline code decides. */
  code?: DeclineCode;
}

/** A payment intent that has moved money, or still may. */
const LIVE_INTENT: ReadonlySet<string> = new Set(['succeeded', 'processing', 'requires_capture']);

const STATE_CODES: ReadonlySet<string> = new Set([
  'payment_intent_unexpected_state',
  'intent_invalid_state',
  'charge_already_captured',
  'charge_already_refunded',
  'charge_expired_for_capture',
  'capture_charge_authorization_expired',
  'charge_not_refundable',
]);

const AMOUNT_CODES: ReadonlySet<string> = new Set([
  'amount_too_small',
  'amount_too_large',
  'invalid_charge_amount',
  'charge_exceeds_source_limit',
  'charge_exceeds_transaction_limit',
]);

const PAYMENT_METHOD_CODES: ReadonlySet<string> = new Set([
  'payment_intent_incompatible_payment_method',
  'token_already_used',
  'token_in_use',
  'expired_payment_method',
]);

/** The customer would have to be present, but this service has no page to show. */
const AUTHENTICATION_CODES: ReadonlySet<string> = new Set([
  'authentication_required',
  'authentication_not_handled',
  'requires_action_not_handled',
  'payment_intent_action_required',
  'payment_intent_authentication_failure',
]);

const REFUND_CODES: ReadonlySet<string> = new Set([
  'charge_disputed',
  'refund_disputed_payment',
  'balance_insufficient',
  'insufficient_funds',
]);

/**
 * The one table from Stripe's errors to outcomes. The first row that matches decides. The rule behind it: `unavailable`
 * and `declined` say that no money moved, so they need proof. Everything without proof is `unknown`.
 */
export const STRIPE_ERRORS: readonly StripeErrorRow[] = [
  {
    // Refused, not found, unreachable, no trusted certificate, or out of time before the connection was ready: no byte
    // of the request was sent.
    name: 'connection failed before the request was sent',
    when: ({ transport }) => transport?.sent === false,
    verdict: 'unavailable',
  },
  {
    // Stripe carries on with a request after its client is gone.
    name: 'no answer in time',
    when: ({ transport }) => transport?.timedOut === true,
    verdict: 'unknown',
  },
  {
    // A reset, or a truncated answer. Sent may mean received, and received may mean done.
    name: 'connection lost after the request was sent',
    when: ({ transport }) => transport !== null,
    verdict: 'unknown',
  },
  {
    // 409: another request with our key is in progress, such as a try that we gave up. It will have an outcome.
    name: 'our key is in use by another request',
    when: ({ code }) => code === 'idempotency_key_in_use',
    verdict: 'unknown',
  },
  {
    // There was a first request under the key, by an earlier version of this service or by another deployment with the
    // same namespace. It may have had an effect, so the call is never absent.
    name: 'our key was used with other parameters',
    when: ({ type }) => type === 'idempotency_error',
    verdict: 'key taken',
    log: 'error',
  },
  {
    // Also 429, but from the endpoint and not from a limiter in front: it was already working when it met the lock. A
    // retry with the same key shows what came of that.
    name: 'the object is locked by another request',
    when: ({ code }) => code === 'lock_timeout',
    verdict: 'unknown',
  },
  {
    // Stripe's rate limiters stand in front of its idempotency layer: nothing ran, and the key is still unused.
    name: 'too many requests',
    when: ({ status, code }) => status === 429 || code === 'rate_limit',
    verdict: 'unavailable',
    log: 'warn',
  },
  {
    // A wrong, expired or revoked API key: nothing ran. The operator has to fix it. It must not burn the client's key.
    name: 'authentication failed',
    when: ({ status }) => status === 401,
    verdict: 'unavailable',
    log: 'error',
  },
  {
    // A restricted API key, or an account that may not do this: nothing ran. Also for the operator to fix.
    name: 'permission denied',
    when: ({ status }) => status === 403,
    verdict: 'unavailable',
    log: 'error',
  },
  {
    // If the intent has the money or may still get it, a card error does not decline the payment.
    name: 'card error of a payment that is alive',
    when: ({ type, intentStatus }) =>
      type === 'card_error' && intentStatus !== null && LIVE_INTENT.has(intentStatus),
    verdict: 'unknown',
    log: 'error',
  },
  {
    // The issuer, Stripe's fraud checks or the card's data said no. Final: this service never confirms an intent again.
    name: 'card declined',
    when: ({ type, code }) => type === 'card_error' || (code !== null && AUTHENTICATION_CODES.has(code)),
    verdict: 'declined',
  },
  {
    // Not in the state that the call needs. Approved if an earlier try of ours did it, otherwise a final no.
    name: 'the payment is in another state',
    when: ({ code }) => code !== null && STATE_CODES.has(code),
    verdict: 'look',
  },
  {
    // Checked before anything is done. Stripe's limits depend on the account, so only Stripe knows them.
    name: 'amount or currency not accepted',
    when: ({ code, param }) =>
      (code !== null && AMOUNT_CODES.has(code)) ||
      param === 'amount' ||
      param === 'amount_to_capture' ||
      param === 'currency',
    verdict: 'declined',
    code: 'amount_not_accepted',
  },
  {
    // Not a token, used up, detached, or not a card. Nothing was charged, and only another token helps.
    name: 'payment method not usable',
    when: ({ code, param, type }) =>
      type === 'invalid_request_error' &&
      ((code !== null && (PAYMENT_METHOD_CODES.has(code) || code.startsWith('payment_method_'))) ||
        param?.startsWith('payment_method') === true),
    verdict: 'declined',
    code: 'invalid_payment_method',
  },
  {
    // A dispute, or too little balance on the account: refused before anything is done. Declined and not unavailable,
    // because Stripe would repeat this answer to the same key for a day. Another refund has another key.
    name: 'refund refused',
    when: ({ code }) => code !== null && REFUND_CODES.has(code),
    verdict: 'declined',
    log: 'warn',
    code: 'refund_declined',
  },
  {
    // Every other 4xx: our request or the account's settings are wrong. An unknown reference means an API key of
    // another account or mode. Refused before anything is done, and not the client's fault.
    name: 'request refused',
    when: ({ status }) => status !== null && [400, 402, 404].includes(status),
    verdict: 'unavailable',
    log: 'error',
  },
  {
    // Stripe: "treat the result of a 500 request as indeterminate". Stripe even stores it under our key.
    name: 'server error',
    when: ({ status }) => status !== null && status >= 500,
    verdict: 'unknown',
    log: 'warn',
  },
  {
    // Other statuses, other types, an answer that is not JSON. Not understood, so not trusted.
    name: 'anything else',
    when: () => true,
    verdict: 'unknown',
    log: 'error',
  },
];

/** The first row that matches. */
export function stripeErrorRow(failure: StripeFailure): StripeErrorRow {
  const row = STRIPE_ERRORS.find(({ when }) => when(failure));
  if (row === undefined) throw new Error('the last row fits everything');
  return row;
}

/** @returns null if the error is not the SDK's but a fault in our code. */
export function toStripeFailure(error: unknown): StripeFailure | null {
  if (!(error instanceof Stripe.errors.StripeError)) return null;
  return {
    type: error.rawType ?? null,
    status: error.statusCode ?? null,
    code: error.code ?? null,
    declineCode: error.decline_code || null,
    param: error.param ?? null,
    intentStatus: error.payment_intent?.status ?? null,
    transport: transportOf(error),
  };
}

function transportOf(error: Stripe.errors.StripeError): StripeFailure['transport'] {
  if (!(error instanceof Stripe.errors.StripeConnectionError)) return null;
  const { detail } = error;
  return detail instanceof StripeTransportError ? detail : { sent: true, timedOut: false };
}

/**
 * Stripe's decline codes (docs.stripe.com/declines/codes) and card error codes that say more than "declined". All
 * others, and all future ones, are `card_declined`: the customer must not learn that a card is reported stolen.
 */
const DECLINE_CODES_OF_CARDS: Readonly<Record<string, DeclineCode>> = {
  insufficient_funds: 'insufficient_funds',
  expired_card: 'expired_card',
  incorrect_number: 'invalid_payment_method',
  invalid_number: 'invalid_payment_method',
  incorrect_cvc: 'invalid_payment_method',
  invalid_cvc: 'invalid_payment_method',
  invalid_expiry_month: 'invalid_payment_method',
  invalid_expiry_year: 'invalid_payment_method',
  invalid_account: 'invalid_payment_method',
};

const MESSAGES: Readonly<Record<DeclineCode, string>> = {
  card_declined: 'The card was declined.',
  insufficient_funds: 'The card has insufficient funds.',
  expired_card: 'The card has expired.',
  invalid_payment_method: 'The payment method cannot be used.',
  amount_not_accepted: 'The payment provider does not take this amount in this currency.',
  refund_declined: 'The payment provider does not give this money back.',
  not_processed: 'The payment provider never processed this request.',
};

export const AUTHENTICATION_REQUIRED: PaymentFailure = {
  code: 'card_declined',
  message: "The card's issuer requires the customer to authenticate, which this payment cannot do.",
};

/** The decline for a failure, in our words. */
export function declineOf(
  { code, declineCode }: Pick<StripeFailure, 'code' | 'declineCode'>,
  kind: GatewayCallKind,
  rowCode?: DeclineCode,
): PaymentFailure {
  if (rowCode !== undefined) return inOurWords(rowCode);
  if (kind === 'refund') return inOurWords('refund_declined');
  const reasons = [declineCode, code].filter((reason) => reason !== null);
  if (reasons.some((reason) => AUTHENTICATION_CODES.has(reason))) return AUTHENTICATION_REQUIRED;
  const known = reasons.find((reason) => Object.hasOwn(DECLINE_CODES_OF_CARDS, reason));
  return inOurWords((known && DECLINE_CODES_OF_CARDS[known]) || 'card_declined');
}

export function inOurWords(code: DeclineCode): PaymentFailure {
  return { code, message: MESSAGES[code] };
}
