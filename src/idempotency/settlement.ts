import type { Transaction } from '../database/pipelined-transactions.js';
import type { Claim, StoredAnswer } from './claims.store.js';

/** A final outcome, all of it: written in one transaction together with the answer. */
export interface Settlement {
  /** The claim as it will stand. An operation corrects it where the key had belonged to another request before. */
  claim: Claim;
  answer: StoredAnswer;
  /** True when the answer repeats an outcome that was settled earlier. */
  replayed: boolean;
  /**
   * What the settlement changes, if several settlements may change it: two refunds of one payment update one row, and
   * one statement would apply only one of them. Settlements with the same subject never share a group.
   */
  subject?: string;
  writes: readonly Write[];
}

/** One change, addressed to the sink that writes it. Made by {@link SinkAddress.put}. */
export interface Write<Change = unknown> {
  readonly to: SinkAddress<Change>;
  readonly change: Change;
}

/** Where to send a kind of change. An operation needs only the address; the sink behind it is listed in `app.module.ts`. */
export class SinkAddress<Change> {
  constructor(readonly name: string) {}

  put(change: Change): Write<Change> {
    return { to: this, change };
  }
}

/** A change, and the claim that it was made for. */
export interface Settled<Change> {
  claim: Claim;
  change: Change;
}

/** Writes one kind of change, many settlements' in one statement. */
export interface SettlementSink<Change> {
  readonly address: SinkAddress<Change>;

  /**
   * Issues the statement, in the transaction that completed or postponed the claims. It must change nothing for a claim
   * that this transaction did not write (`WRITTEN_BY_THIS_TRANSACTION`): that claim's attempt was fenced out.
   * @param changes at least one, sorted by key
   */
  write(tx: Transaction, changes: readonly Settled<Change>[]): Promise<void>;

  /** Called after the commit. It must be cheap and must not throw. */
  committed?(): void;
}

/** Sinks of all kinds, whose changes pass through the engine unread. */
// oxlint-disable-next-line typescript/no-explicit-any -- the address ties each change to the sink that can read it
export type AnySink = SettlementSink<any>;
