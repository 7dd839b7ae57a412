import type { DeclineCode, Refusal } from './errors.js';

export const PAYMENT_STATUSES = ['pending', 'authorized', 'completed', 'failed', 'canceled'] as const;
export type PaymentStatus = (typeof PAYMENT_STATUSES)[number];

export const CAPTURE_METHODS = ['automatic', 'manual'] as const;
export type CaptureMethod = (typeof CAPTURE_METHODS)[number];

/** Why a payment failed. `code` is one of ours, and `message` is fit to show to a customer. */
export interface PaymentFailure {
  code: DeclineCode;
  message: string;
}

/** A payment as the database holds it. Amounts are in the currency's minor unit. */
export interface Payment {
  transactionId: string;
  merchantId: string;
  /** The key under which the gateway knows its charge. */
  gatewayKey: string;
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
  /** The provider's own id of the charge. Null until the provider has given one. */
  gatewayReference: string | null;
  /** The capture or cancel in progress. No other may begin until it ends. */
  hold: { gatewayKey: string; amount: bigint } | null;
  createdAt: Date;
  updatedAt: Date;
}

/** What can happen to a payment. Each is the settled outcome of an operation, never a request. */
export type PaymentTransition = 'approve' | 'authorize' | 'decline' | 'capture' | 'cancel' | 'refund';

/**
 * The complete state machine: a transition that a state does not list is impossible. A refunded payment stays
 * `completed`, because `amount_refunded` says how much went back.
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

/** The state after `transition`, or null if the state does not allow it. */
export function nextStatus(from: PaymentStatus, transition: PaymentTransition): PaymentStatus | null {
  return PAYMENT_TRANSITIONS[from][transition] ?? null;
}

/** Why this amount of a payment (null: all of it) may not be captured, or null if it may. */
export function captureRefusal(payment: Payment, amount: bigint | null): Refusal | null {
  if (nextStatus(payment.status, 'capture') === null || payment.hold !== null) {
    return { code: 'payment_not_capturable', status: condition(payment) };
  }
  return amount !== null && amount > payment.amount ? tooLarge(payment.amount) : null;
}

/** Why a payment may not be canceled, or null if it may. */
export function cancelRefusal(payment: Payment): Refusal | null {
  if (nextStatus(payment.status, 'cancel') !== null && payment.hold === null) return null;
  return { code: 'payment_not_cancelable', status: condition(payment) };
}

/** Why this amount of a payment (null: all that is left) may not be refunded, or null if it may. */
export function refundRefusal(payment: Payment, amount: bigint | null): Refusal | null {
  const left = payment.amountCaptured - payment.amountRefunded;
  if (nextStatus(payment.status, 'refund') === null || left === 0n) {
    return { code: 'payment_not_refundable', status: condition(payment) };
  }
  return amount !== null && amount > left ? tooLarge(left) : null;
}

/** The payment's state in the words of a refusal. */
function condition(payment: Payment): string {
  if (payment.hold !== null) return 'being captured or canceled';
  if (payment.status === 'completed' && payment.amountRefunded === payment.amountCaptured)
    return 'fully refunded';
  return payment.status;
}

function tooLarge(available: bigint): Refusal {
  return { code: 'amount_too_large', available: String(available) };
}
