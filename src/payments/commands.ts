import type { CaptureMethod } from '../domain/payment.js';

// Validated requests. Amounts are in the currency's minor unit.

export interface ChargeCommand {
  amountMinor: bigint;
  currency: string;
  paymentMethod: string;
  captureMethod: CaptureMethod;
  userId: string | null;
  description: string | null;
  metadata: Readonly<Record<string, string>>;
}

/** A capture or a cancel. A null amount means all of it. */
export interface AuthorizationEndCommand {
  transactionId: string;
  amountMinor: bigint | null;
}

/** A null amount means all that is left. */
export interface RefundCommand {
  transactionId: string;
  amountMinor: bigint | null;
  reason: string | null;
}

export interface ReversalCommand {
  /** The key of the payment to undo. */
  reversedKey: string;
}
