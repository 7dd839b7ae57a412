import { DECLINE_CODES, type DeclineCode } from '../../domain/errors.js';
import type { PaymentFailure } from '../../domain/payment.js';
import type { RecordedCall } from './sandbox-books.js';

/** The sandbox provider's own wire, unrelated to the service's: JSON, one key per call. */

export const KEY_HEADER = 'idempotency-key';
/** A script in JSON, for this call alone. */
export const SCRIPT_HEADER = 'sandbox-script';

export interface WireCharge {
  transaction_id: string;
  amount: number;
  currency: string;
  payment_method: string;
  capture_method: 'automatic' | 'manual';
}

export interface WireCapture {
  transaction_id: string;
  amount: number;
  currency: string;
}

export interface WireVoid {
  transaction_id: string;
}

export interface WireRefund extends WireCapture {
  refund_id: string;
}

/** An answered call. A declined one has a `failure` and was answered with 402. */
export interface WireCall {
  reference: string;
  kind: string;
  status: 'approved' | 'declined';
  failure: { code: string; message: string } | null;
  charge_reference: string | null;
  transaction_id: string;
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

export function callToWire(call: RecordedCall): WireCall {
  return {
    reference: call.reference,
    kind: call.kind,
    status: call.failure === null ? 'approved' : 'declined',
    failure: call.failure,
    charge_reference: call.chargeReference,
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
