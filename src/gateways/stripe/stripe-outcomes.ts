import type { Stripe } from 'stripe';
import type { DeclineCode } from '../../domain/errors.js';
import type { Finding, Outcome } from '../../domain/outcome.js';
import { declineOf, inOurWords } from './stripe.errors.js';

/** Metadata that holds our ids at Stripe, for lookups and for readers of its dashboard. */
export const TRANSACTION_ID = 'transaction_id';
export const REFUND_ID = 'refund_id';
export const CHARGE_KEY = 'idempotency_key';
export const CAPTURE_KEY = 'capture_idempotency_key';

export const UNKNOWN = { kind: 'unknown' } as const;
export const ABSENT = { kind: 'absent' } as const;

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

export function capturedOutcome(intent: Stripe.PaymentIntent, gatewayKey: string): Finding {
  if (intent.status === 'processing') return UNKNOWN;
  const ours = intent.status === 'succeeded' && intent.metadata[CAPTURE_KEY] === gatewayKey;
  return ours ? approved(intent.id) : ABSENT;
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
