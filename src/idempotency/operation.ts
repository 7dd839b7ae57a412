import type { Transaction } from '../database/pipelined-transactions.js';
import type { FinalOutcome, Finding, Outcome } from '../domain/outcome.js';
import type { Claim, ClaimRequest, ClaimState, StoredAnswer } from './claims.store.js';
import type { ScopedKey } from './scoped-key.js';
import type { Settlement, Write } from './settlement.js';

/** A validated request to run an operation, as a route or a message handler passes it to the runner. */
export interface OperationCall<Command> {
  /** The operation's name, as its claims carry it. */
  readonly operation: string;
  readonly merchantId: string;
  /** Null where the client sent none and the route allows to derive one. */
  readonly idempotencyKey: string | null;
  readonly command: Command;
  /** Path parameters and body, as the fingerprint covers them. */
  readonly params?: Readonly<Record<string, string>>;
  readonly body: object;
  readonly requestId: string;
  readonly receivedAt: Date;
  /** How long the client lets us wait for the first answer if its key is already being worked on. */
  readonly waitMs: number;
  /** How long the answer is kept; null as configured. */
  readonly lifetimeMs: number | null;
  /** Tells the client which key was derived, whatever the answer will be. */
  readonly announceKey: (idempotencyKey: string) => void;
}

/** The same request under its key, with the ids that its claim and what it creates will have if the key is new. */
export interface OperationRequest<Command> extends ClaimRequest {
  command: Command;
  requestId: string;
  receivedAt: Date;
}

/** An answer, and whether it was made for another request than this one. */
export interface Answer extends StoredAnswer {
  replayed: boolean;
}

/** What a reserve statement says about a key. */
export interface Reserved extends ScopedKey {
  /** True when this very request reserved, false when an earlier try with the same key had. */
  inserted: boolean;
}

/** What was made under a key. */
export interface Made {
  resourceId: string;
  createdAt: Date;
}

/** What happens next to a claim that is ours. */
export type NextStep =
  | { step: 'call'; call: GatewayCall }
  | { step: 'compose'; composition: Composition }
  | { step: 'settle'; settlement: Settlement }
  /** Gives the claim back. Nothing is reserved for it. */
  | { step: 'release' };

/**
 * A keyed request in its steps: reserve our intent in a transaction, act on it, settle the outcome in a transaction. The
 * runner makes any operation exactly-once; an operation says only what is its own. `Command` is the validated request.
 *
 * This is what every operation has. One that calls a gateway is a {@link GatewayOperation}, one made of other operations
 * a {@link CompositeOperation}; one whose reserve statement does everything is neither, and its next step is to settle.
 */
export interface Operation<Command> {
  /** Stored with every claim, so that recovery finds the operation again. Never rename one. */
  readonly name: string;

  /** A new id for what this request may create, or the id of what it acts on. */
  newResourceId(call: OperationCall<Command>): string;

  /**
   * What a request acts on, where several may act on one thing: one statement never reserves for both. Leave it out
   * where each request has a thing of its own.
   */
  subjectOf?(request: OperationRequest<Command>): string;

  /** Writes the intents, in the transaction that took the claims: for those claims and for no others. */
  reserve(tx: Transaction, requests: readonly OperationRequest<Command>[]): Promise<Reserved[]>;

  /** What follows for the claim that `request` has just taken. */
  proceed(
    claim: Claim,
    request: OperationRequest<Command>,
    reserved: Reserved | undefined,
  ): Promise<NextStep>;

  /** What follows for a claim whose owner was lost. */
  resume(claim: Claim, requestId: string): Promise<NextStep>;

  /** Undoes {@link reserve} for claims that this transaction released. */
  release(tx: Transaction, claims: readonly Claim[]): Promise<void>;

  /**
   * The fingerprint of the request that first used a key, read from what it made; null if it made nothing. After a claim
   * is reaped another body may claim the key for a moment, and must not shut its owner out meanwhile.
   */
  originalFingerprint(request: OperationRequest<Command>): Promise<string | null>;

  /** The path of what a claim made or changed; null if it did neither. */
  resourcePath(claim: Pick<ClaimState, 'resourceId' | 'status' | 'answer'>): string | null;

  /** What was made under a key whose claim was reaped, where a row remembers its key. */
  madeUnder?(key: ScopedKey): Promise<Made | null>;
}

/** What an operation has that calls a payment provider. `Work` is what one call needs to know. */
export interface GatewayOperation<Command, Work> extends Operation<Command> {
  /** Calls the gateway. Repeated with the same gateway key until the outcome is known. */
  call(work: Work, signal: AbortSignal): Promise<Outcome>;

  /** Asks the gateway what became of a call that was last sent before `unknownSince`, without sending it again. */
  inquire(work: Work, unknownSince: Date, signal: AbortSignal): Promise<Finding>;

  /** The settlement that follows from a final outcome. */
  conclude(claim: Claim, work: Work, outcome: FinalOutcome, requestId: string): Settlement;

  /** The answer while the outcome is unknown. It is not stored. */
  pendingAnswer(work: Work): StoredAnswer;

  /** What to write when a claim is left open: the event of a pending payment. Written once, however often it is left. */
  pendingWrites?(work: Work): readonly Write[];
}

/** What an operation has that runs other operations under keys of its own. It calls no gateway itself. */
export interface CompositeOperation<Command, Work> extends Operation<Command> {
  /**
   * Takes the steps that are left. Each has a key that follows from the claim, so whoever carries on repeats none.
   * @param isRepeated true when an earlier attempt was left open; then it should look once rather than wait for others.
   * @returns null while a step is still open.
   */
  carryOn(
    claim: Claim,
    work: Work,
    isRepeated: boolean,
    requestId: string,
    signal: AbortSignal,
  ): Promise<Settlement | null>;

  /** The answer while a step is open. It is not stored. */
  pendingAnswer(work: Work): StoredAnswer;
}

/** A gateway operation's call for one claim. The work is bound in, so the engine needs to know no operation's types. */
export interface GatewayCall {
  send(signal: AbortSignal): Promise<Outcome>;
  inquire(unknownSince: Date, signal: AbortSignal): Promise<Finding>;
  conclude(outcome: FinalOutcome): Settlement;
  pendingAnswer(): StoredAnswer;
  pendingWrites(): readonly Write[];
}

/** A composite operation's steps for one claim. */
export interface Composition {
  carryOn(isRepeated: boolean, signal: AbortSignal): Promise<Settlement | null>;
  pendingAnswer(): StoredAnswer;
}

/** The step that calls the gateway for `claim`. */
export function callStep<Work>(
  operation: GatewayOperation<never, Work>,
  claim: Claim,
  work: Work,
  requestId: string,
): NextStep {
  return {
    step: 'call',
    call: {
      send: (signal) => operation.call(work, signal),
      inquire: (unknownSince, signal) => operation.inquire(work, unknownSince, signal),
      conclude: (outcome) => operation.conclude(claim, work, outcome, requestId),
      pendingAnswer: () => operation.pendingAnswer(work),
      pendingWrites: () => operation.pendingWrites?.(work) ?? [],
    },
  };
}

/** The step that runs the other operations that `claim` is made of. */
export function composeStep<Work>(
  operation: CompositeOperation<never, Work>,
  claim: Claim,
  work: Work,
  requestId: string,
): NextStep {
  return {
    step: 'compose',
    composition: {
      carryOn: (isRepeated, signal) => operation.carryOn(claim, work, isRepeated, requestId, signal),
      pendingAnswer: () => operation.pendingAnswer(work),
    },
  };
}

/** The engine handles operations of every kind alike; their commands pass through it unread. */
// oxlint-disable-next-line typescript/no-explicit-any -- the one place where commands of all kinds meet
export type AnyOperation = Operation<any>;
