import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { isDatabaseUnavailable } from '../database/database-errors.js';
import { GroupCommit } from '../database/group-commit.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { Metrics } from '../metrics/metrics.js';
import { ClaimsStore, type Claim } from './claims.store.js';
import { OpenClaimsStore, type PostponeReason } from './open-claims.store.js';
import type { AnyOperation } from './operation.js';
import { compareKeys } from './scoped-key.js';
import { settlementSubject, type Settlement, type Write } from './settlement.js';
import { SettlementSinks } from './settlement-sinks.js';

/** Writes how claims end: many operations' outcomes in one transaction. */
@Injectable()
export class SettlementWriter {
  private readonly group: GroupCommit<Settlement, boolean>;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly transactions: PipelinedTransactions,
    private readonly claims: ClaimsStore,
    private readonly openClaims: OpenClaimsStore,
    private readonly sinks: SettlementSinks,
    metrics: Metrics,
  ) {
    this.group = new GroupCommit((settlements, lockTimeoutMs) => this.commit(settlements, lockTimeoutMs), {
      failsForAll: isDatabaseUnavailable,
      sideLane: transactions.sideLane,
      onGroup: (size) => metrics.groupCommitted('settle', size),
      subjectOf: settlementSubject,
    });
  }

  /**
   * Writes the answer and everything that goes with it, all or nothing, if the claim still belongs to its attempt.
   * @returns false if it does not; then nothing was written.
   * @throws CommitUnknownError if the connection was lost at the commit. Settling again is safe and shows what
   * happened.
   */
  settle(settlement: Settlement): Promise<boolean> {
    return this.group.submit(settlement);
  }

  /**
   * Releases a claim that surely had no effect, together with what it had reserved.
   * @returns false if it had gone to another attempt; then nothing was written.
   */
  async release(operation: AnyOperation, claim: Claim): Promise<boolean> {
    const [released] = await this.transactions.runBeside(claim.claimId, (tx) => [
      this.claims.release(tx, [claim]),
      operation.release(tx, [claim]),
    ]);
    return released > 0;
  }

  /**
   * Ends the lease of a claim whose call has no known end, so that another attempt can continue it.
   * @param writes what to write with it, such as the event of an open payment
   * @returns whether it is due at once, because the provider has notified us meanwhile.
   */
  async postpone(claim: Claim, reason: PostponeReason, writes: readonly Write[]): Promise<boolean> {
    const [, due] = await this.transactions.runBeside(claim.claimId, (tx) => [
      this.openClaims.lockResources(tx, [claim.resourceId]),
      this.openClaims.postpone(tx, claim, reason, this.config.idempotencyLeaseMs),
      ...this.sinks.write(tx, [{ claim, writes }]),
    ]);
    this.sinks.committed([{ writes }]);
    return due;
  }

  private async commit(settlements: Settlement[], lockTimeoutMs?: number): Promise<boolean[]> {
    const sorted = settlements.toSorted((a, b) => compareKeys(a.claim, b.claim));
    // The claims come first: the later statements act for the claims that this one completed.
    const [completed] = await this.transactions.run(
      (tx) => [
        this.claims.complete(
          tx,
          sorted.map(({ claim, answer, onlyHere = false }) => ({ claim, answer, onlyHere })),
          this.config.idempotencyRetentionMs,
        ),
        ...this.sinks.write(tx, sorted),
      ],
      { lockTimeoutMs },
    );
    this.sinks.committed(sorted);
    return settlements.map(({ claim }) => completed.has(claim.claimId));
  }
}
