import type { DeclineCode } from './errors.js';
import type { Payment } from './payment.js';

export const REVERSAL_STATUSES = ['pending', 'completed', 'failed'] as const;
export type ReversalStatus = (typeof REVERSAL_STATUSES)[number];

/**
 * Why a payment counts as not having happened: it never arrived and never will (`prevented`), the gateway refused it
 * (`failed`), its authorization was given up (`canceled`), or its money went back (`refunded`).
 */
export const REVERSAL_OUTCOMES = ['prevented', 'failed', 'canceled', 'refunded'] as const;
export type ReversalOutcome = (typeof REVERSAL_OUTCOMES)[number];

/** Why a payment could not be undone. */
export interface ReversalFailure {
  code: DeclineCode | 'idempotency_key_not_reversible';
  message: string;
}

/** For a key that belongs to a capture, a refund or anything else but a charge. */
export const NOT_A_PAYMENT = 'The key belongs to a request that is no payment.';

/** A request to undo whatever was sent under a key. */
export interface Reversal {
  reversalId: string;
  merchantId: string;
  /** The key of the payment to undo. */
  reversedKey: string;
  /** Begins the keys of its steps. Derived from its request, so that they are the same after a loss of ours. */
  stepsKey: string;
  status: ReversalStatus;
  /** Null until the reversal is completed. */
  outcome: ReversalOutcome | null;
  /** The payment made under that key. Null if there is none. */
  transactionId: string | null;
  failure: ReversalFailure | null;
  createdAt: Date;
  updatedAt: Date;
}

/** `resolve` and `wait` mean that others are still working on the payment. */
type UndoStep =
  { step: 'end'; outcome: ReversalOutcome } | { step: 'resolve' | 'cancel' | 'refund' | 'wait' };

/**
 * The next step until a payment counts as not having happened.
 * @param givenBack the sum of completed refunds, read after the payment: it only ever grows, while `amount_refunded`
 * also counts refunds that may still fail.
 */
export function nextUndoStep(payment: Payment, givenBack: bigint): UndoStep {
  switch (payment.status) {
    case 'pending':
      return { step: 'resolve' };
    case 'failed':
    case 'canceled':
      return { step: 'end', outcome: payment.status };
    case 'authorized':
      return { step: payment.hold === null ? 'cancel' : 'wait' };
    case 'completed':
      if (payment.amountRefunded < payment.amountCaptured) return { step: 'refund' };
      // A pending refund may still be refused. Then its amount returns to the payment and must be refunded again.
      return givenBack < payment.amountCaptured ? { step: 'wait' } : { step: 'end', outcome: 'refunded' };
  }
}
