import { DECLINE_CODES, type DeclineCode } from '../../domain/errors.js';
import type { PaymentFailure } from '../../domain/payment.js';
import type { SentIds } from '../gateway.js';
import type { RecordedCall } from './sandbox-books.js';

/** The sandbox provider's own wire, unrelated to the service's: JSON, one key per call. */

export const KEY_HEADER = 'idempotency-key';
/** A script in JSON, for this call alone. */
export const SCRIPT_HEADER = 'sandbox-script';

/** Ids of the caller's, which it may leave out. They come back in lookups and notifications. */
interface WireIds {
  transaction_id?: string;
  refund_id?: string;
}

export interface WireCharge extends WireIds {
  amount: number;
  currency: string;
  payment_method: string;
  capture_method: 'automatic' | 'manual';
}

/** A capture or a refund. */
export interface WireMoney extends WireIds {
  amount: number;
  currency: string;
}

export type WireVoid = WireIds;

/** An answered call. A declined one has a `failure` and was answered with 402. */
export interface WireCall {
  reference: string;
  kind: string;
  status: 'approved' | 'declined';
  failure: { code: string; message: string } | null;
  charge_reference: string | null;
  /** The key of the charge that it belongs to, which may be its own. Null if the provider has no such charge. */
  charge_idempotency_key: string | null;
  transaction_id: string | null;
  refund_id: string | null;
  idempotency_key: string;
  amount: number;
  currency: string;
  payment_method: string;
  at: string;
}

/** An effect as `GET /books` lists it. */
export type WireEffect = Omit<WireCall, 'status' | 'failure'>;

/** The short answer to a call itself. A lookup says more. */
type WireAnswer =
  | { reference: string; status: 'approved' }
  | { reference: string; status: 'declined'; failure: PaymentFailure };

/** `effect` is `none` if this call surely did nothing. */
export interface WireError {
  error: { code: string; message: string; effect: 'none' | 'unknown' };
}

export type WireResolution = WireAnswer | { status: 'absent' };

export function idsToWire(ids: SentIds | null): WireIds {
  if (ids === null) return {};
  const { transactionId, refundId } = ids;
  return { transaction_id: transactionId, ...(refundId !== null && { refund_id: refundId }) };
}

/** A refund is known by its payment as well: there is no refund's id alone. */
export function idsFromWire({ transaction_id, refund_id }: WireIds): SentIds | null {
  return transaction_id === undefined ? null : { transactionId: transaction_id, refundId: refund_id ?? null };
}

export function callToWire(call: RecordedCall): WireCall {
  return {
    reference: call.reference,
    kind: call.kind,
    status: call.failure === null ? 'approved' : 'declined',
    failure: call.failure,
    charge_reference: call.chargeReference,
    charge_idempotency_key: call.chargeKey,
    transaction_id: call.transactionId,
    refund_id: call.refundId,
    idempotency_key: call.gatewayKey,
    amount: Number(call.amountMinor),
    currency: call.currency,
    payment_method: call.paymentMethod,
    at: call.at.toISOString(),
  };
}

export function effectToWire(call: RecordedCall): WireEffect {
  const { status: _status, failure: _failure, ...effect } = callToWire(call);
  return effect;
}

/** A decline from the wire. A reason that is none of ours is still a decline. */
export function failureFromWire({ code, message }: { code: string; message: string }): PaymentFailure {
  const known = DECLINE_CODES.find((candidate): candidate is DeclineCode => candidate === code);
  return { code: known ?? 'card_declined', message };
}
