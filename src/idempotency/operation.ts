import type { Transaction } from '../database/pipelined-transactions.js';
import type { FinalOutcome, Finding, LostTail, Outcome } from '../domain/outcome.js';
import type { Claim, ClaimRequest, ClaimState, StoredAnswer } from './claims.store.js';
import type { RequestContents } from './fingerprint-versions.js';
import type { ScopedKey } from './scoped-key.js';
import type { Settlement, Write } from './settlement.js';

/** A validated request to run an operation, as a route or a message handler passes it to the runner. */
export interface IncomingRequest<Command> {
  /** The operation's name, as its claims carry it. */
  readonly operation: string;
  readonly merchantId: string;
  /** Null if the client sent none and the route allows us to derive one. */
  readonly idempotencyKey: string | null;
  readonly command: Command;
  /** Path parameters and body, as the fingerprint covers them. */
  readonly params?: Readonly<Record<string, string>>;
  readonly body: object;
  /** The parameters as the gateway key covers them, where `params` names something by an id that we drew. */
  readonly gatewayParams?: Readonly<Record<string, string>>;
  readonly requestId: string;
  readonly receivedAt: Date;
  /** How long the client lets us wait for the first answer if its key is already in progress. */
  readonly waitMs: number;
  /** How long the answer is kept. Null means the configured time. */
  readonly lifetimeMs: number | null;
  /** Sends the derived key to the client, whatever the answer will be. */
  readonly announceKey: (idempotencyKey: string) => void;
}

/** The same request under its key, with the ids for its claim and for what it creates, used if the key is new. */
export interface OperationRequest<Command> extends ClaimRequest {
  /** What the fingerprint covers, to compare the request with fingerprints of other versions. */
  contents: RequestContents;
  command: Command;
  requestId: string;
  receivedAt: Date;
}

/** An answer, and whether it was made for an earlier request. */
export interface Answer extends StoredAnswer {
  replayed: boolean;
}

/** What was made under a key. */
export interface Made {
  resourceId: string;
  createdAt: Date;
}

/** The next step of a claim that is ours. */
export type NextStep =
  | { step: 'call'; call: GatewayCall }
  | { step: 'compose'; composition: Composition }
  | { step: 'settle'; settlement: Settlement }
  /** Releases the claim. Nothing is reserved for it. */
  | { step: 'release' };

/**
 * A keyed request in its steps: reserve our intent in a transaction, act on it, settle the outcome in a transaction.
 * The runner makes any operation exactly-once, so an operation contains only what is specific to it. `Command` is the
 * validated request.
 *
 * Every operation has these members. One that calls a gateway is a {@link GatewayOperation}; one made of other
 * operations is a {@link CompositeOperation}. One whose reserve statement does everything is neither, and settles
 * next.
 */
export interface Operation<Command> {
  /** Stored with every claim, so that recovery finds the operation again. Never rename one. */
  readonly name: string;

  /** A new id for what this request may create, or the id of what it acts on. */
  newResourceId(incoming: IncomingRequest<Command>): string;

  /**
   * What a request acts on, if several requests may act on the same thing: one statement never reserves for two of
   * them. Leave it out if each request creates its own.
   */
  subjectOf?(request: OperationRequest<Command>): string;

  /**
   * Writes the intents in the transaction that took the claims, for those claims and no others.
   * @returns the keys for which this very transaction reserved. An earlier try may have reserved for the others.
   */
  reserve(tx: Transaction, requests: readonly OperationRequest<Command>[]): Promise<ScopedKey[]>;

  /**
   * The next step of the claim that `request` has just taken.
   * @param reserved whether the transaction that took it has reserved for it as well
   */
  proceed(claim: Claim, request: OperationRequest<Command>, reserved: boolean): Promise<NextStep>;

  /** The next step of a claim whose owner died. */
  resume(claim: Claim, requestId: string): Promise<NextStep>;

  /** Undoes {@link reserve} for claims that this transaction released. */
  release(tx: Transaction, claims: readonly Claim[]): Promise<void>;

  /**
   * The fingerprint of the request that first used a key, read from what it made; null if it made nothing. After a
   * claim is reaped, another body may claim the key for a moment, and must not shut the original request out
   * meanwhile.
   */
  originalFingerprint(request: OperationRequest<Command>): Promise<string | null>;

  /** The path of what a claim made or changed, or null if it did neither. */
  resourcePath(claim: Pick<ClaimState, 'resourceId' | 'status' | 'answer'>): string | null;

  /** What was made under a key whose claim was reaped, if a row remembers the key. */
  madeUnder?(key: ScopedKey): Promise<Made | null>;
}

/** An operation that calls a payment provider. `Work` is what one call needs to know. */
export interface GatewayOperation<Command, Work> extends Operation<Command> {
  /** Calls the gateway. Repeated under the same gateway key until the outcome is known. */
  call(work: Work, signal: AbortSignal): Promise<Outcome>;

  /** Asks the gateway what became of a call that was last sent before `unknownSince`, without sending it again. */
  inquire(work: Work, unknownSince: Date, signal: AbortSignal): Promise<Finding>;

  /**
   * Asks the gateway whether it has a call that we may have sent and forgotten. Unlike {@link inquire} it must not keep
   * the gateway from acting later: after `absent` the call is sent.
   */
  lookUp(work: Work, lost: LostTail, signal: AbortSignal): Promise<Finding>;

  /** The settlement that follows from a final outcome. */
  conclude(claim: Claim, work: Work, outcome: FinalOutcome, requestId: string): Settlement;

  /** The answer while the outcome is unknown. It is not stored. */
  pendingAnswer(work: Work): StoredAnswer;

  /**
   * What to write when a claim is left open: the event of a pending payment. Written once, however often it is left
   * open.
   */
  pendingWrites?(work: Work): readonly Write[];
}

/** An operation that runs other operations under keys of its own. It calls no gateway itself. */
export interface CompositeOperation<Command, Work> extends Operation<Command> {
  /**
   * Takes the remaining steps. Each has a key that follows from the claim, so a process that continues the claim
   * repeats none of them.
   * @param isRepeated true if an earlier attempt was left open; then it should look once rather than wait for others.
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

/** One claim's gateway call. It binds the work, so that the engine needs to know no operation's types. */
export interface GatewayCall {
  send(signal: AbortSignal): Promise<Outcome>;
  inquire(unknownSince: Date, signal: AbortSignal): Promise<Finding>;
  lookUp(lost: LostTail, signal: AbortSignal): Promise<Finding>;
  conclude(outcome: FinalOutcome): Settlement;
  pendingAnswer(): StoredAnswer;
  pendingWrites(): readonly Write[];
}

/** One claim's steps of a composite operation. */
export interface Composition {
  carryOn(isRepeated: boolean, signal: AbortSignal): Promise<Settlement | null>;
  pendingAnswer(): StoredAnswer;
}

/** The next step that calls the gateway for `claim`. */
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
      lookUp: (lost, signal) => operation.lookUp(work, lost, signal),
      conclude: (outcome) => operation.conclude(claim, work, outcome, requestId),
      pendingAnswer: () => operation.pendingAnswer(work),
      pendingWrites: () => operation.pendingWrites?.(work) ?? [],
    },
  };
}

/** The next step that runs the other operations of `claim`. */
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

/** Whether an operation calls the gateway, itself or by its steps, so that its claims need a gateway key. */
export function callsGateway(operation: AnyOperation): boolean {
  return 'call' in operation || 'carryOn' in operation;
}

/** Operations of every kind. The engine handles them alike and passes their commands on unread. */
// oxlint-disable-next-line typescript/no-explicit-any -- the one place where commands of all kinds meet
export type AnyOperation = Operation<any>;
