import type { Transaction } from '../database/pipelined-transactions.js';
import type { EventType, NewEvent } from '../events/events.store.js';
import type { FinalOutcome, Finding, Outcome } from '../domain/outcome.js';
import type { Claim, ScopedKey, StoredAnswer } from './claims.store.js';
import type { KeyedRequest } from './wire/keyed-request.js';
import type { LedgerTransaction } from '../ledger/ledger.store.js';
import type { PaymentChange } from '../payments/payments.store.js';
import type { RefundChange } from '../payments/refunds.store.js';
import type { ReversalChange } from '../payments/reversals.store.js';

export type { EventType };

/** A validated request to run an operation, as its route hands it over. */
export interface OperationCall<Command> extends KeyedRequest {
  merchantId: string;
  command: Command;
  /** Path parameters and body, as the fingerprint covers them. */
  params?: Readonly<Record<string, string>>;
  body: object;
}

/** One request to run an operation, under its key. */
export interface OperationRequest<Command> extends ScopedKey {
  command: Command;
  fingerprint: string;
  requestId: string;
  receivedAt: Date;
  /** How long the client lets us wait for the first answer, if its key is already being worked on. */
  waitMs: number;
  /** How long the answer is kept; null as configured. */
  lifetimeMs: number | null;
}

/** An answer, and whether this request was the one that it was made for. */
export interface Answer extends StoredAnswer {
  replayed: boolean;
}

/** A final outcome, all of it, to be written in one transaction together with the answer. */
export interface Settlement {
  /** The claim as it shall stand from now on: an operation corrects it where the key was somebody else's before. */
  claim: Claim;
  answer: StoredAnswer;
  /** True when the answer tells an outcome that was settled earlier. */
  replayed: boolean;
  payment?: PaymentChange;
  refund?: RefundChange;
  reversal?: ReversalChange;
  ledger?: LedgerTransaction;
  event?: NewEvent;
}

/** What is to be done for a claim. `release` gives back a claim for which nothing is reserved. */
export type NextStep<Work> =
  { step: 'call'; work: Work } | { step: 'settle'; settlement: Settlement } | { step: 'release' };

/** What a reserve statement says about a key. */
export interface Reserved extends ScopedKey {
  /** True when this very request reserved, false when an earlier try with the same key had done so. */
  inserted: boolean;
}

/**
 * One money-moving request in its three steps: reserve our intent in a transaction, call the gateway outside any,
 * settle the outcome in a transaction. The runner makes any such operation exactly-once; an operation says only what
 * is its own. `Command` is the validated request, `Work` what a gateway call needs to know.
 */
export interface Operation<Command, Work> {
  /** Stored with every claim, so that recovery finds the operation again. Never rename one. */
  readonly name: string;

  /** A new id for what this request may create. */
  newResourceId(request: OperationRequest<Command>): string;

  /**
   * What a request acts on, where several may act on one thing: they are never reserved by one statement. Undefined
   * where each request has a thing of its own.
   */
  subjectOf?(request: OperationRequest<Command>): string;

  /** Writes the intents, in the transaction that took the claims: for those claims and for no others. */
  reserve(tx: Transaction, requests: readonly OperationRequest<Command>[]): Promise<Reserved[]>;

  /** After reserve: what follows for the claim that `request` took. */
  proceed(
    claim: Claim,
    request: OperationRequest<Command>,
    reserved: Reserved | undefined,
  ): Promise<NextStep<Work>>;

  /**
   * The fingerprint of the request that first used a key, where only what it made still knows it; null for none. A key
   * whose claim was reaped may be claimed by another body for a moment, and must not be denied to its owner meanwhile.
   */
  originalFingerprint(request: OperationRequest<Command>): Promise<string | null>;

  /** What follows for a claim whose owner was lost. */
  resume(claim: Claim, requestId: string): Promise<NextStep<Work>>;

  /** Asks the gateway. Repeated with the same idempotency key until the outcome is known. */
  call(work: Work, signal: AbortSignal): Promise<Outcome>;

  /** Asks the gateway what became of a call that was last sent before `unknownSince`, without sending it again. */
  find(work: Work, unknownSince: Date, signal: AbortSignal): Promise<Finding>;

  /** The final outcome, as it shall be written and answered. */
  settle(claim: Claim, work: Work, outcome: FinalOutcome, requestId: string): Settlement;

  /** Undoes {@link reserve} for claims that this transaction released. */
  release(tx: Transaction, claims: readonly Claim[]): Promise<void>;

  /** The answer while the outcome is unknown. It is not stored. */
  pendingAnswer(work: Work): StoredAnswer;

  /** Tells that the payment itself is open, where an unknown outcome leaves it so. Written once a payment. */
  pendingEvent?(work: Work): NewEvent;
}

/** The runner handles operations of every kind alike; their commands and works pass through it unread. */
// oxlint-disable-next-line typescript/no-explicit-any -- the one place where commands of all kinds meet
export type AnyOperation = Operation<any, any>;
