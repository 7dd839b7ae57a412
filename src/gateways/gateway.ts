import type { CaptureMethod, PaymentFailure } from '../domain/payment.js';

/**
 * The payment provider behind one port.
 *
 * Every call carries `idempotencyKey`: the claim's id, committed before the call and the same on every retry, so that
 * a provider acts once however often we ask. A gateway never throws for what a provider said; it throws only for a
 * programming error. It must settle soon after `signal` aborts, with `unknown` when the provider may have acted.
 */
export abstract class Gateway {
  abstract readonly name: string;

  /** Takes the money (`automatic`) or only reserves it (`manual`). */
  abstract charge(request: ChargeRequest, signal: AbortSignal): Promise<GatewayOutcome>;

  /** Takes all or a part of what was authorized, once; the rest is given up. */
  abstract capture(request: CaptureRequest, signal: AbortSignal): Promise<GatewayOutcome>;

  /** Gives an authorization up. */
  abstract cancel(request: CancelRequest, signal: AbortSignal): Promise<GatewayOutcome>;

  /** Gives all or a part of what was taken back. */
  abstract refund(request: RefundRequest, signal: AbortSignal): Promise<GatewayOutcome>;
}

export interface ChargeRequest {
  idempotencyKey: string;
  /** Our id of the payment; providers keep it, and a lookup by it settles what a lost answer left open. */
  transactionId: string;
  amountMinor: bigint;
  currency: string;
  paymentMethod: string;
  captureMethod: CaptureMethod;
}

/** What is asked of a charge that the gateway knows. */
export interface CancelRequest {
  idempotencyKey: string;
  transactionId: string;
  /** The gateway's own id of the charge. */
  reference: string;
}

export interface CaptureRequest extends CancelRequest {
  amountMinor: bigint;
  currency: string;
}

export interface RefundRequest extends CaptureRequest {
  refundId: string;
}

/**
 * What a gateway said. `declined` is final. `unavailable` means surely no effect, so the client may simply retry.
 * `unknown` means that there may be one: nothing but asking again may turn it into anything else.
 */
export type GatewayOutcome =
  | { kind: 'approved'; reference: string }
  | { kind: 'declined'; failure: PaymentFailure }
  | { kind: 'unavailable' }
  | { kind: 'unknown' };
