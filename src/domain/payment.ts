import type { DeclineCode } from './errors.js';

export const PAYMENT_STATUSES = ['pending', 'authorized', 'completed', 'failed', 'canceled'] as const;
export type PaymentStatus = (typeof PAYMENT_STATUSES)[number];

export const CAPTURE_METHODS = ['automatic', 'manual'] as const;
export type CaptureMethod = (typeof CAPTURE_METHODS)[number];

/** Why a payment failed, in our words: `code` is one of ours, `message` is fit to show to a customer. */
export interface PaymentFailure {
  code: DeclineCode;
  message: string;
}

/** A payment as the database holds it. Amounts are in the currency's minor unit. */
export interface Payment {
  transactionId: string;
  merchantId: string;
  userId: string | null;
  amount: bigint;
  amountCaptured: bigint;
  amountRefunded: bigint;
  currency: string;
  status: PaymentStatus;
  paymentMethod: string;
  captureMethod: CaptureMethod;
  description: string | null;
  metadata: Readonly<Record<string, string>>;
  failure: PaymentFailure | null;
  createdAt: Date;
  updatedAt: Date;
}

/** What can happen to a payment. Each is the settled outcome of an operation, never a wish. */
export type PaymentTransition = 'approve' | 'authorize' | 'decline' | 'capture' | 'cancel' | 'refund';

/**
 * The state machine, total: a transition that a state does not list is impossible. `completed` stays `completed`
 * when it is refunded, because how much came back is `amount_refunded`, not a state.
 */
export const PAYMENT_TRANSITIONS: Readonly<
  Record<PaymentStatus, Readonly<Partial<Record<PaymentTransition, PaymentStatus>>>>
> = {
  pending: { approve: 'completed', authorize: 'authorized', decline: 'failed' },
  authorized: { capture: 'completed', cancel: 'canceled' },
  completed: { refund: 'completed' },
  failed: {},
  canceled: {},
};

/** The state after `transition`, or null where the state does not allow it. */
export function nextStatus(from: PaymentStatus, transition: PaymentTransition): PaymentStatus | null {
  return PAYMENT_TRANSITIONS[from][transition] ?? null;
}
