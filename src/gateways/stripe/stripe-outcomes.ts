import type { Stripe } from 'stripe';
import type { DeclineCode } from '../../domain/errors.js';
import type { Finding, Outcome } from '../../domain/outcome.js';
import type { CallUnderKey, CaptureRequest, ChargeRequest } from '../gateway.js';
import { toStripeAmount } from './stripe-amounts.js';
import { declineOf, inOurWords } from './stripe.errors.js';

/** Metadata by which we find a charge and a refund at Stripe: the gateway key of its call. */
export const CALL_KEY = 'idempotency_key';
/** The gateway key of a payment intent's capture. */
export const CAPTURE_KEY = 'capture_idempotency_key';
/** What a charge was asked with: Stripe gives its own test tokens other names. */
export const PAYMENT_METHOD = 'payment_method';
/** Our ids, which calls of earlier versions carried. */
export const TRANSACTION_ID = 'transaction_id';
export const REFUND_ID = 'refund_id';

export const UNKNOWN = { kind: 'unknown' } as const;
export const ABSENT = { kind: 'absent' } as const;
/** Stripe has another call under our key. */
export const KEY_TAKEN = { kind: 'unknown', keyTaken: true } as const;

/** A charge's outcome by its intent. `unknown` until Stripe itself is done with it. */
export function chargeOutcome(intent: Stripe.PaymentIntent): Outcome {
  switch (intent.status) {
    case 'succeeded':
    case 'requires_capture':
      return approved(intent.id);
    case 'canceled':
      return declined('card_declined');
    case 'requires_payment_method': {
      // A new intent and a declined one have the same status. Only the declined one has an error.
      const error = intent.last_payment_error;
      if (error === null) return UNKNOWN;
      const reasons = { code: error.code ?? null, declineCode: error.decline_code ?? null };
      return { kind: 'declined', failure: declineOf(reasons, 'charge') };
    }
    // Under way at Stripe, waiting for the customer, or in a state that this service never causes.
    case 'processing':
    case 'requires_action':
    case 'requires_confirmation':
    default:
      return UNKNOWN;
  }
}

/** The outcome of the charge that Stripe has under a request's key, if it is for the same money by the same card. */
export function recordedCharge(intent: Stripe.PaymentIntent, request: ChargeRequest): Outcome {
  const asked = intent.metadata[PAYMENT_METHOD];
  const isSame =
    isSameMoney(intent, request) &&
    intent.capture_method === request.captureMethod &&
    // Earlier versions did not say.
    (asked === undefined || asked === request.paymentMethod);
  return isSame ? chargeOutcome(intent) : KEY_TAKEN;
}

/**
 * The same for a charge that we have forgotten together with what came after it. An authorization that was given up
 * since then was one all the same, as Stripe's first answer said: the cancel that ended it is looked up in its turn.
 */
export function forgottenCharge(intent: Stripe.PaymentIntent, request: ChargeRequest): Outcome {
  const outcome = recordedCharge(intent, request);
  return outcome.kind === 'declined' && intent.status === 'canceled' && wasAuthorized(intent)
    ? approved(intent.id)
    : outcome;
}

/** An intent can also be canceled without ever having reserved money. Its charge must be expanded. */
export function wasAuthorized({ latest_charge: charge }: Stripe.PaymentIntent): boolean {
  return charge !== null && typeof charge === 'object' && charge.paid && !charge.captured;
}

export function capturedOutcome(intent: Stripe.PaymentIntent, request: CaptureRequest): Finding {
  if (intent.status === 'processing') return UNKNOWN;
  const ours = intent.status === 'succeeded' && intent.metadata[CAPTURE_KEY] === request.gatewayKey;
  if (!ours) return ABSENT;
  const isSame = isSameMoney({ amount: intent.amount_received, currency: intent.currency }, request);
  return isSame ? approved(intent.id) : KEY_TAKEN;
}

/** Whether a refund in Stripe's list is the one that a request asks for. */
export function isRefundOf({ metadata }: Stripe.Refund, { gatewayKey, ids }: CallUnderKey): boolean {
  return ids === null ? metadata?.[CALL_KEY] === gatewayKey : metadata?.[REFUND_ID] === ids.refundId;
}

export function recordedRefund(refund: Stripe.Refund, request: CaptureRequest): Outcome {
  return isSameMoney(refund, request) ? refundOutcome(refund) : KEY_TAKEN;
}

function isSameMoney(
  { amount, currency }: { amount: number; currency: string },
  request: Pick<ChargeRequest, 'amountMinor' | 'currency'>,
): boolean {
  return (
    amount === toStripeAmount(request.amountMinor, request.currency) &&
    currency === request.currency.toLowerCase()
  );
}

export function refundOutcome({ id, status }: Stripe.Refund): Outcome {
  switch (status) {
    case 'succeeded':
      return approved(id);
    case 'failed':
    case 'canceled':
      return declined('refund_declined');
    // `pending` and `requires_action`: it may still succeed.
    case null:
    default:
      return UNKNOWN;
  }
}

export function approved(reference: string): Outcome {
  return { kind: 'approved', reference };
}

export function declined(code: DeclineCode, message?: string): Outcome {
  return { kind: 'declined', failure: { ...inOurWords(code), ...(message !== undefined && { message }) } };
}
