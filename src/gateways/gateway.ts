import type { Finding, Outcome } from '../domain/outcome.js';
import type { CaptureMethod } from '../domain/payment.js';

/**
 * The payment provider behind one port.
 *
 * Every call carries `gatewayKey`: the claim's id, committed before the call and the same on every retry, so that
 * a provider acts once however often we ask. A gateway never throws for what a provider said; it throws only for a
 * programming error. It must settle soon after `signal` aborts, with `unknown` when the provider may have acted.
 */
export abstract class Gateway {
  abstract readonly name: string;

  /** Takes the money (`automatic`) or only reserves it (`manual`). */
  abstract charge(request: ChargeRequest, signal: AbortSignal): Promise<Outcome>;

  /** Takes all or a part of what was authorized, once; the rest is given up. */
  abstract capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome>;

  /** Gives an authorization up. */
  abstract cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome>;

  /** Gives all or a part of what was taken back. */
  abstract refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome>;

  /**
   * What became of a call that was sent earlier, asked by our own reference and never by sending it again. `absent`
   * says that the gateway has no trace of it.
   *
   * `absent` has to be final, because money is decided by it: a provider that says it must refuse the call should it
   * still arrive, as one does that had been held up on its way. The sandbox closes the key by answering. A provider
   * that gives no such guarantee says `absent` only when the call cannot arrive any more; until then it is `unknown`.
   * A gateway that cannot be asked has said nothing about the call: its `unavailable` speaks of the question, and counts
   * against its health, but whoever asks through the resilient gateway hears `unknown`.
   */
  abstract inquire(inquiry: GatewayInquiry, signal: AbortSignal): Promise<Finding>;
}

export interface ChargeRequest {
  gatewayKey: string;
  /** Our id of the payment; providers keep it, and a lookup by it settles what a lost answer left open. */
  transactionId: string;
  amountMinor: bigint;
  currency: string;
  paymentMethod: string;
  captureMethod: CaptureMethod;
}

/** What is asked of a charge that the gateway knows. */
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

/** A call as the gateway may know it: by the key that it was sent with, by our ids, and by the charge's reference. */
export interface GatewayInquiry {
  kind: GatewayCallKind;
  gatewayKey: string;
  transactionId: string;
  refundId: string | null;
  /** The gateway's own id of the charge, where we know it. */
  reference: string | null;
  /** The call was last sent before this time, and has not been sent again since. */
  unknownSince: Date;
}

/** Thrown where a key that has answered one request is sent with another: a fault of ours, which no retry mends. */
export class GatewayKeyReusedError extends Error {
  override readonly name = 'GatewayKeyReusedError';

  constructor() {
    super('the gateway has answered another request under this key');
  }
}
