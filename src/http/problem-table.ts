import type { DeclineCode, Refusal, RefusalCode } from '../domain/errors.js';
import { NOT_A_PAYMENT } from '../domain/reversal.js';

/** Whether a client may send the request again, and with which `Idempotency-Key`. */
export type Retry = 'same_key' | 'new_key' | 'none';

/** Whether money moved. `none` only when that is certain; if it might have, `unknown`. */
export type Effect = 'none' | 'applied' | 'unknown';

type RefusalOf<Code extends RefusalCode> = Refusal & { code: Code };

/** How one code looks on the wire. */
interface ProblemKind<Code extends RefusalCode = RefusalCode> {
  status: number;
  title: string;
  retry: Retry;
  effect: Effect;
  /** What happened this time, for a person to read. It never holds a secret or a payment method. */
  detail(refusal: RefusalOf<Code>): string;
  /** What the code means and what to do, for the page at the problem's `type`. */
  description: string;
  /** A refusal of this kind, from which the documentation renders its examples. */
  example: RefusalOf<Code>;
}

export const PROBLEM_MEDIA_TYPE = 'application/problem+json; charset=utf-8';

const EXAMPLE_TRANSACTION_ID = '019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e';
const EXAMPLE_REFUND_ID = '019b2f6f-01b4-7a5d-8c11-0d4e5f6a7b8c';

/** Every code of {@link Refusal}, on the wire. The compiler refuses a code that is missing here. */
export const PROBLEMS: { readonly [Code in RefusalCode]: ProblemKind<Code> } = {
  malformed_request: {
    ...wire(400, 'Malformed request', 'none', 'none'),
    detail: ({ reason }) => reason,
    description:
      'The request is not valid HTTP, or its URL is not valid. Correct it before sending it again.',
    example: { code: 'malformed_request', reason: 'The URL is not valid percent-encoded UTF-8.' },
  },
  malformed_body: {
    ...wire(400, 'Malformed body', 'none', 'none'),
    detail: ({ reason }) => reason,
    description:
      'The body is not a JSON object in UTF-8. No key was used up: correct the body and send it again.',
    example: { code: 'malformed_body', reason: 'The body is not valid JSON.' },
  },
  validation_failed: {
    ...wire(400, 'Validation failed', 'none', 'none'),
    detail: ({ errors }) => errors.map(({ field, message }) => `${field} ${message}`).join('; ') + '.',
    description:
      'One or more fields are wrong; `errors` names each with what is expected. No key was used up: correct the fields and send it again.',
    example: {
      code: 'validation_failed',
      errors: [{ field: 'amount', message: 'must be a whole number from 1 to 999999999999' }],
    },
  },
  idempotency_key_missing: {
    ...wire(400, 'Idempotency-Key is missing', 'new_key', 'none'),
    detail: () =>
      'This request needs an Idempotency-Key header, so that it can be retried without acting twice.',
    description:
      'Make up a unique key for every intent (a UUID will do), keep it, and send it with every try of that intent. ' +
      'This follows draft-ietf-httpapi-idempotency-key-header.',
    example: { code: 'idempotency_key_missing' },
  },
  idempotency_key_invalid: {
    ...wire(400, 'Idempotency-Key is invalid', 'new_key', 'none'),
    detail: ({ reason }) => reason,
    description:
      'A key is 1 to 255 visible ASCII characters, in one header line, quoted ("order-1001-charge") or bare (order-1001-charge): both are one key.',
    example: {
      code: 'idempotency_key_invalid',
      reason: 'The Idempotency-Key header must hold 1 to 255 visible ASCII characters.',
    },
  },
  idempotency_key_in_progress: {
    ...wire(409, 'The first request is still running', 'same_key', 'unknown'),
    detail: () => 'A request with this Idempotency-Key is still running. Ask again later with the same key.',
    description:
      'The first request with this key has not been answered yet. Wait for `Retry-After` and send the same request with the same key, ' +
      'or send `Prefer: wait=10` to wait for the first answer.',
    example: { code: 'idempotency_key_in_progress', retryAfterSeconds: 1 },
  },
  idempotency_key_reused: {
    ...wire(422, 'Idempotency-Key was used for another request', 'new_key', 'none'),
    detail: () =>
      'This Idempotency-Key already stands for a request with other contents. Use a new key for a new intent.',
    description:
      'The key was first used with another operation, path or body. This request did nothing; the first one is not changed.',
    example: { code: 'idempotency_key_reused' },
  },
  idempotency_key_reversed: {
    ...wire(409, 'Idempotency-Key was reversed', 'none', 'none'),
    detail: () =>
      'This Idempotency-Key was reversed before this request arrived. Nothing was done, and nothing will be.',
    description:
      'A reversal has sealed the key before a request with it had an effect, so that a late one has none either. ' +
      'This is final: use a new key for a new intent.',
    example: { code: 'idempotency_key_reversed' },
  },
  idempotency_key_not_reversible: {
    ...wire(409, 'Idempotency-Key cannot be reversed', 'none', 'none'),
    detail: (refusal) => refusal.message,
    description:
      'Only a key under which a payment was asked for can be reversed; this one belongs to something else. Nothing was done.',
    example: { code: 'idempotency_key_not_reversible', message: NOT_A_PAYMENT },
  },
  notification_signature_invalid: {
    ...wire(400, 'Signature of the notification is invalid', 'none', 'none'),
    detail: ({ reason }) => reason,
    description:
      "A payment provider's notification has to carry the provider's signature over its very bytes, made less than five minutes ago with the " +
      'secret that the service is configured with. Nothing was done.',
    example: {
      code: 'notification_signature_invalid',
      reason:
        'The notification is not signed with the secret of this gateway, or it was signed more than five minutes ago.',
    },
  },
  unauthorized: {
    ...wire(401, 'Unauthorized', 'none', 'none'),
    detail: ({ reason }) => reason,
    description: 'Send a valid API key as `Authorization: Bearer <api key>`.',
    example: { code: 'unauthorized', reason: 'The Authorization header must be "Bearer <api key>".' },
  },
  forbidden: {
    ...wire(403, 'Forbidden', 'none', 'none'),
    detail: ({ reason }) => reason,
    description:
      'The API key is valid and lacks a scope that this request needs. No key was used up: send the request with an API key that has it.',
    example: { code: 'forbidden', reason: 'This API key lacks the scope refunds:write.' },
  },
  not_found: {
    ...wire(404, 'Not found', 'none', 'none'),
    detail: ({ what }) => `There is no such ${what}.`,
    description: 'There is nothing at this address, or it belongs to another merchant.',
    example: { code: 'not_found', what: 'payment' },
  },
  payload_too_large: {
    ...wire(413, 'Payload too large', 'none', 'none'),
    detail: () => 'The body is larger than 64 KiB.',
    description: 'A body may have up to 65536 bytes.',
    example: { code: 'payload_too_large' },
  },
  unsupported_media_type: {
    ...wire(415, 'Unsupported media type', 'none', 'none'),
    detail: () => 'The body must be sent as Content-Type: application/json.',
    description: 'Bodies are JSON, and say so in their Content-Type header.',
    example: { code: 'unsupported_media_type' },
  },
  headers_too_large: {
    ...wire(431, 'Request header fields too large', 'none', 'none'),
    detail: () => 'The request line and header fields are larger than 16 KiB.',
    description: 'The URL and the header fields together may have up to 16384 bytes.',
    example: { code: 'headers_too_large' },
  },
  request_timeout: {
    ...wire(408, 'Request timeout', 'same_key', 'none'),
    detail: () => 'The request did not arrive in time.',
    description: 'The connection was too slow to deliver the whole request. Send it again.',
    example: { code: 'request_timeout' },
  },
  rate_limited: {
    ...wire(429, 'Too many requests', 'same_key', 'none'),
    detail: ({ retryAfterSeconds }) => `Too many requests. Try again in ${seconds(retryAfterSeconds)}.`,
    description:
      'Too many requests in too short a time; `RateLimit` says how many are left, and `RateLimit-Policy` how many there are. ' +
      'No idempotency key was used up: wait for `Retry-After`, then send the same request with the same key.',
    example: { code: 'rate_limited', retryAfterSeconds: 1 },
  },
  card_declined: declined('card_declined', 'Card declined', 'The card was declined.'),
  insufficient_funds: declined(
    'insufficient_funds',
    'Insufficient funds',
    'The card has insufficient funds.',
  ),
  expired_card: declined('expired_card', 'Card expired', 'The card has expired.'),
  invalid_payment_method: declined(
    'invalid_payment_method',
    'Payment method not usable',
    'The payment method cannot be used.',
  ),
  amount_not_accepted: declined(
    'amount_not_accepted',
    'Amount not accepted',
    'The payment provider does not take this amount or this currency.',
  ),
  not_processed: {
    ...wire(402, 'Not processed', 'new_key', 'none'),
    detail: (refusal) => refusal.message,
    description:
      'The payment provider was asked, gave no answer, and has no trace of the request. Nothing was done, and nothing will be. ' +
      'This answer is final for its key: use a new key to try again.',
    example: {
      code: 'not_processed',
      transactionId: EXAMPLE_TRANSACTION_ID,
      message: 'The payment provider never processed this request.',
    },
  },
  refund_declined: {
    ...wire(402, 'Refund declined', 'new_key', 'none'),
    detail: (refusal) => refusal.message,
    description:
      'The gateway will not give this money back, and its amount may be refunded again. This answer is final for its key.',
    example: {
      code: 'refund_declined',
      transactionId: EXAMPLE_TRANSACTION_ID,
      refundId: EXAMPLE_REFUND_ID,
      message: 'The card does not take refunds.',
    },
  },
  payment_not_capturable: stateForbids('payment_not_capturable', 'captured', 'Only an authorized payment'),
  payment_not_cancelable: stateForbids('payment_not_cancelable', 'canceled', 'Only an authorized payment'),
  payment_not_refundable: stateForbids('payment_not_refundable', 'refunded', 'Only a completed payment'),
  amount_too_large: {
    ...wire(409, 'Amount too large', 'new_key', 'none'),
    detail: ({ available }) => `The amount is larger than what is available: ${available}.`,
    description:
      "The amount is larger than what is left to capture or to refund, in the currency's minor unit. This answer is final for its key: " +
      'send a smaller amount with a new one.',
    example: { code: 'amount_too_large', available: '500' },
  },
  webhook_endpoint_disabled: {
    ...wire(409, 'The webhook endpoint is disabled', 'none', 'none'),
    detail: () => 'The webhook endpoint is disabled, so nothing is sent there.',
    description: 'Enable the endpoint with a PATCH of `{ "enabled": true }`, then send the request again.',
    example: { code: 'webhook_endpoint_disabled' },
  },
  webhook_endpoint_limit: {
    ...wire(409, 'Too many webhook endpoints', 'new_key', 'none'),
    detail: ({ max }) => `There may be ${max} webhook endpoints at a time.`,
    description: 'Delete an endpoint that is not needed any more, then send the request with a new key.',
    example: { code: 'webhook_endpoint_limit', max: 20 },
  },
  service_unavailable: {
    ...wire(503, 'Service unavailable', 'same_key', 'none'),
    detail: () =>
      'The service is not available at the moment. This request did nothing: retry with the same key.',
    description:
      'The database or the gateway cannot be reached, and this request did nothing. An earlier one with the same key may have had its effect: ' +
      'wait for `Retry-After`, then send the same request with the same key, which finds out. Never use a new key here.',
    example: { code: 'service_unavailable', retryAfterSeconds: 1 },
  },
  outcome_unknown: {
    ...wire(503, 'Outcome unknown', 'same_key', 'unknown'),
    detail: () =>
      'It is not known yet whether the request had an effect. Retry with the same key to find out.',
    description:
      'The request may have had its effect. Wait for `Retry-After`, then send the same request with the same key: it acts at most once. Never use a new key here.',
    example: { code: 'outcome_unknown', retryAfterSeconds: 2 },
  },
  internal_error: {
    ...wire(500, 'Internal error', 'same_key', 'unknown'),
    detail: () => 'Something went wrong on our side. Retry with the same key.',
    description:
      'A fault of the service, logged under the `request_id`. Send the same request with the same key: it acts at most once.',
    example: { code: 'internal_error' },
  },
};

/** A gateway's "no" is final for its key. Another try, maybe with another card, is a new intent and needs a new key. */
function declined<Code extends DeclineCode>(code: Code, title: string, message: string): ProblemKind<Code> {
  return {
    ...wire(402, title, 'new_key', 'none'),
    detail: (refusal) => refusal.message,
    description: `${message} Nothing was charged. This answer is final for its key: use a new key to try again or to try another payment method.`,
    example: { code, transactionId: EXAMPLE_TRANSACTION_ID, message },
  };
}

type StateCode = 'payment_not_capturable' | 'payment_not_cancelable' | 'payment_not_refundable';

function stateForbids<Code extends StateCode>(code: Code, done: string, who: string): ProblemKind<Code> {
  return {
    ...wire(409, `Payment cannot be ${done}`, 'none', 'none'),
    detail: ({ status }) => `A payment that is ${status} cannot be ${done}.`,
    description: `${who} can be ${done}. Nothing was done.`,
    example: { code, status: 'pending' },
  };
}

function wire(status: number, title: string, retry: Retry, effect: Effect) {
  return { status, title, retry, effect };
}

function seconds(count: number): string {
  return count === 1 ? '1 second' : `${count} seconds`;
}

export const PROBLEM_CODES = Object.keys(PROBLEMS) as readonly RefusalCode[];

export function isProblemCode(code: string): code is RefusalCode {
  return Object.hasOwn(PROBLEMS, code);
}

/** The entry for a code that is known only at run time. */
export function problemKind(code: RefusalCode): ProblemKind {
  // The table maps each code to its own kind. An index over the union cannot express that.
  return PROBLEMS[code];
}

interface RenderedProblem {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/**
 * The problem document (RFC 9457) of a refusal, ready to send. A pure function whose body is final text, because a
 * decline is stored and replayed byte for byte.
 */
export function renderProblem(
  refusal: Refusal,
  context: { requestId: string; publicUrl: string },
): RenderedProblem {
  const kind = problemKind(refusal.code);
  const type = problemType(refusal.code, context.publicUrl);
  const document = {
    type,
    title: kind.title,
    status: kind.status,
    detail: kind.detail(refusal),
    code: refusal.code,
    request_id: context.requestId,
    retry: kind.retry,
    effect: kind.effect,
    ...('transactionId' in refusal && { transaction_id: refusal.transactionId }),
    ...('refundId' in refusal && { refund_id: refusal.refundId }),
    ...('errors' in refusal && { errors: refusal.errors }),
  };
  return { status: kind.status, headers: problemHeaders(refusal, type), body: JSON.stringify(document) };
}

/** The URL that names a problem. The service serves a page there. */
export function problemType(code: RefusalCode, publicUrl: string): string {
  return `${publicUrl}/problems/${code}`;
}

function problemHeaders(refusal: Refusal, type: string): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': PROBLEM_MEDIA_TYPE };
  if ('retryAfterSeconds' in refusal) headers['retry-after'] = String(refusal.retryAfterSeconds);
  if (refusal.code === 'unauthorized') headers['www-authenticate'] = 'Bearer';
  if (refusal.code === 'idempotency_key_missing' || refusal.code === 'idempotency_key_invalid') {
    // Section 2.7 of draft-ietf-httpapi-idempotency-key-header-07 asks for a link to what the client should read.
    headers['link'] = `<${type}>; rel="describedby"`;
  }
  return headers;
}
