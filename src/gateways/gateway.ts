import type { Finding, Outcome } from '../domain/outcome.js';
import type { CaptureMethod } from '../domain/payment.js';

/**
 * The payment provider behind one port.
 *
 * Every call carries `gatewayKey`: the claim's id, committed before the call and the same on every retry, so that
 * a provider acts once however often we ask. A gateway never throws for what a provider said, only for a programming
 * error. It must answer soon after `signal` aborts, with `unknown` if the provider may have acted.
 */
export abstract class Gateway {
  abstract readonly name: string;

  /** Takes the money (`automatic`) or only reserves it (`manual`). */
  abstract charge(request: ChargeRequest, signal: AbortSignal): Promise<Outcome>;

  /** Takes all or part of what was authorized, once. The rest is given up. */
  abstract capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome>;

  /** Gives an authorization up. */
  abstract cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome>;

  /** Gives back all or part of what was taken. */
  abstract refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome>;

  /**
   * What became of a call that was sent earlier. It asks by our own reference, and never sends the call again.
   *
   * `absent` says that the gateway has no trace of the call. It has to be final, because money depends on it: a provider
   * that says `absent` must refuse the call if it still arrives later. The sandbox closes the key when it says so. For a
   * provider without such a guarantee the answer is `absent` only when the call can no longer arrive, and `unknown` until
   * then.
   *
   * `unavailable` says that the gateway could not be asked, and nothing about the call. It counts against the gateway's
   * health; the resilient gateway turns it into `unknown`.
   */
  abstract inquire(inquiry: GatewayInquiry, signal: AbortSignal): Promise<Finding>;
}

export interface ChargeRequest {
  gatewayKey: string;
  /** Our id of the payment. Providers keep it, so that we can look up the call when its answer is lost. */
  transactionId: string;
  amountMinor: bigint;
  currency: string;
  paymentMethod: string;
  captureMethod: CaptureMethod;
}

/** A request about a charge that the gateway knows. */
export interface CancelRequest {
  gatewayKey: string;
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

export type GatewayCallKind = 'charge' | 'capture' | 'cancel' | 'refund';

/** Everything by which the gateway may know a call: its key, our ids, and the charge's reference. */
export interface GatewayInquiry {
  kind: GatewayCallKind;
  gatewayKey: string;
  transactionId: string;
  refundId: string | null;
  /** The gateway's own id of the charge, where we know it. */
  reference: string | null;
  /** The call was last sent before this time. */
  unknownSince: Date;
}

/** Thrown when a key that has answered one request is sent with another: our own fault, which no retry repairs. */
export class GatewayKeyReusedError extends Error {
  override readonly name = 'GatewayKeyReusedError';

  constructor() {
    super('the gateway has answered another request under this key');
  }
}
