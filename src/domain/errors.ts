/**
 * Every way in which Hapax refuses a request: one closed union of codes, each with the data it needs. Nothing below a
 * controller throws anything else on purpose. `http/problem-table.ts` maps each code to the wire.
 */
export type Refusal =
  | { code: 'malformed_request'; reason: string }
  | { code: 'malformed_body'; reason: string }
  | { code: 'validation_failed'; errors: readonly FieldError[] }
  | { code: 'idempotency_key_missing' }
  | { code: 'idempotency_key_invalid'; reason: string }
  | { code: 'notification_signature_invalid'; reason: string }
  | { code: 'unauthorized'; reason: string }
  | { code: 'forbidden'; reason: string }
  | { code: 'not_found'; what: string }
  | { code: 'payload_too_large' }
  | { code: 'unsupported_media_type' }
  | { code: 'headers_too_large' }
  | { code: 'request_timeout' }
  | { code: 'rate_limited'; retryAfterSeconds: number }
  | { code: 'idempotency_key_in_progress'; retryAfterSeconds: number }
  | { code: 'idempotency_key_reused' }
  | { code: 'idempotency_key_reversed' }
  | { code: 'idempotency_key_not_reversible'; message: string }
  | { code: DeclineCode; transactionId: string; refundId?: string; message: string }
  | { code: 'payment_not_capturable' | 'payment_not_cancelable' | 'payment_not_refundable'; status: string }
  | { code: 'amount_too_large'; available: string }
  | { code: 'webhook_endpoint_disabled' }
  | { code: 'webhook_endpoint_limit'; max: number }
  | { code: 'service_unavailable'; retryAfterSeconds: number }
  | { code: 'outcome_unknown'; retryAfterSeconds: number }
  | { code: 'internal_error' };

export type RefusalCode = Refusal['code'];

/** A bad field of a body or a query. `field` is its path as the client wrote it. */
export interface FieldError {
  field: string;
  message: string;
}

/** The reasons for a gateway's final "no". Each gateway's own codes are mapped to these. */
export const DECLINE_CODES = [
  'card_declined',
  'insufficient_funds',
  'expired_card',
  'invalid_payment_method',
  'amount_not_accepted',
  'refund_declined',
  'not_processed',
] as const;
export type DeclineCode = (typeof DECLINE_CODES)[number];

/** Carries a {@link Refusal} up to the edge. The message is for logs; clients get the problem document. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';

  constructor(
    readonly refusal: Refusal,
    options?: ErrorOptions,
  ) {
    super(refusal.code, options);
  }
}
