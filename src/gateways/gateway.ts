import type { Finding, LostTail, Outcome } from '../domain/outcome.js';
import type { CaptureMethod } from '../domain/payment.js';

/**
 * The payment provider behind one port.
 *
 * Every call carries `gatewayKey`, committed before the call and the same on every retry, so that a provider acts once
 * however often we ask. What is sent under a key is the same as well, even by a database that has lost its tail: it
 * contains nothing that was drawn. A gateway never throws for what a provider said, only for a programming error. It
 * must answer soon after `signal` aborts, with `unknown` if the provider may have acted.
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
   * What became of a call that was last sent before `unknownSince`. Asks by our own key, and never sends the call again.
   *
   * `absent` says that the gateway has no trace of the call. It has to be final, because money depends on it: a provider
   * that says `absent` must refuse the call if it still arrives later. The sandbox closes the key when it says so. For a
   * provider without such a guarantee the answer is `absent` only when the call can no longer arrive, and `unknown` until
   * then.
   *
   * `unavailable` says that the gateway could not be asked, and nothing about the call. It counts against the gateway's
   * health; the resilient gateway turns it into `unknown`.
   */
  abstract inquire(call: SentCall, unknownSince: Date, signal: AbortSignal): Promise<Finding>;

  /**
   * Whether the gateway already has a call that we may have sent and forgotten. Asks like {@link inquire}, but closes
   * nothing: `absent` says that sending it now cannot act a second time, because the gateway has nothing, or because it
   * still knows the key and would give its first answer again.
   */
  abstract lookUp(call: SentCall, lost: LostTail, signal: AbortSignal): Promise<Finding>;
}

/** What every call carries. */
export interface CallUnderKey {
  gatewayKey: string;
  /**
   * Our ids, which calls under the key of an earlier version carry. Null under a derived key: we draw ids, so a call
   * that is repeated after a loss would carry others, and the provider would refuse it.
   */
  ids: SentIds | null;
  /** The call cannot have been sent before this time. Not for the provider. */
  sentSince: Date;
}

export interface SentIds {
  transactionId: string;
  /** Null for a call that is no refund. */
  refundId: string | null;
}

export interface ChargeRequest extends CallUnderKey {
  amountMinor: bigint;
  currency: string;
  paymentMethod: string;
  captureMethod: CaptureMethod;
}

/** A request about a charge that the gateway knows. */
export interface CancelRequest extends CallUnderKey {
  /** The gateway's own id of the charge. */
  reference: string;
}

export interface CaptureRequest extends CancelRequest {
  amountMinor: bigint;
  currency: string;
}

export type RefundRequest = CaptureRequest;

/** A call as it was sent, or as it would be sent. */
export type SentCall =
  | { kind: 'charge'; request: ChargeRequest }
  | { kind: 'capture'; request: CaptureRequest }
  | { kind: 'cancel'; request: CancelRequest }
  | { kind: 'refund'; request: RefundRequest };

export type GatewayCallKind = SentCall['kind'];
