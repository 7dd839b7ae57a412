import type { Transaction } from '../database/pipelined-transactions.js';
import type { Claim, StoredAnswer } from './claims.store.js';

/** A complete final outcome, written in one transaction together with the answer. */
export interface Settlement {
  /** The claim as it will be stored. An operation corrects it if the key had belonged to another request before. */
  claim: Claim;
  answer: StoredAnswer;
  /** True if the answer repeats an outcome that was settled earlier. */
  replayed: boolean;
  /**
   * True if nothing but the claim will remember this answer, because the request was refused and made nothing. Then the
   * claim never expires: what we refused must not be carried out later because we forgot that we refused it.
   */
  onlyHere?: boolean;
  writes: readonly Write[];
}

/** One change, addressed to the sink that writes it. Made by {@link SinkAddress.put}. */
export interface Write<Change = unknown> {
  readonly to: SinkAddress<Change>;
  readonly change: Change;
  /** What the change is about, if several settlements may change it. */
  readonly subject: string | null;
}

/** Where to send changes of one kind. An operation needs only the address; `app.module.ts` lists the sink behind it. */
export class SinkAddress<Change> {
  private readonly subjectOf: ((change: never) => string) | undefined;

  /**
   * @param subjectOf what a change is about, where several settlements may change one row. One statement would apply only
   * one of two such changes, so their settlements never share a group.
   */
  constructor(
    readonly name: string,
    subjectOf?: (change: Change) => string,
  ) {
    this.subjectOf = subjectOf;
  }

  put(change: Change): Write<Change> {
    return { to: this, change, subject: this.subjectOf?.(change as never) ?? null };
  }
}

/** A change and its claim. */
export interface ClaimedChange<Change> {
  claim: Claim;
  change: Change;
}

/** Writes one kind of change, for many settlements in one statement. */
export interface SettlementSink<Change> {
  readonly address: SinkAddress<Change>;

  /**
   * Issues the statement, in the transaction that completed or postponed the claims. It must change nothing for a
   * claim that this transaction did not write (`writtenBy`): that claim's attempt was fenced out.
   * @param changes at least one, sorted by key
   */
  write(tx: Transaction, changes: readonly ClaimedChange<Change>[]): Promise<void>;

  /** Called after the commit. It must be cheap and must not throw. */
  committed?(): void;
}

/** Sinks of all kinds. The engine passes their changes on unread. */
// oxlint-disable-next-line typescript/no-explicit-any -- the address ties each change to the sink that can read it
export type AnySink = SettlementSink<any>;

/** What a settlement must not share its group with: the first subject that a write names, or the claim itself. */
export function settlementSubject({ claim, writes }: Settlement): string {
  return writes.find(({ subject }) => subject !== null)?.subject ?? claim.claimId;
}
