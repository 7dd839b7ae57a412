import { Inject, Injectable } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { isDatabaseUnavailable } from '../database/database-errors.js';
import { GroupCommit } from '../database/group-commit.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { EventRelay } from '../events/event-relay.js';
import { EventsStore, type NewEvent } from '../events/events.store.js';
import { ClaimsStore, type Claim } from './claims.store.js';
import { OpenClaimsStore } from './open-claims.store.js';
import { LedgerStore } from '../ledger/ledger.store.js';
import { Metrics } from '../metrics/metrics.js';
import { PaymentsStore } from '../payments/payments.store.js';
import { RefundsStore } from '../payments/refunds.store.js';
import { ReversalsStore } from '../payments/reversals.store.js';
import type { AnyOperation, Settlement } from './operation.js';

/** Writes outcomes, many operations' in one transaction. */
@Injectable()
export class SettlementWriter {
  private readonly group: GroupCommit<Settlement, boolean>;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly transactions: PipelinedTransactions,
    private readonly claims: ClaimsStore,
    private readonly openClaims: OpenClaimsStore,
    private readonly payments: PaymentsStore,
    private readonly refunds: RefundsStore,
    private readonly reversals: ReversalsStore,
    private readonly ledger: LedgerStore,
    private readonly events: EventsStore,
    private readonly relay: EventRelay,
    metrics: Metrics,
  ) {
    this.group = new GroupCommit((settlements) => this.commit(settlements), {
      failsForAll: isDatabaseUnavailable,
      onGroup: (size) => metrics.groupCommitted('settle', size),
      // Several refunds of one payment change one row, and each has to count.
      subjectOf: ({ claim, payment }) => payment?.transactionId ?? claim.claimId,
    });
  }

  /**
   * Writes payment, ledger, event and answer, all or nothing, if the claim still belongs to its attempt.
   * @returns false when it does not, and nothing was written.
   * @throws CommitUnknownError when it cannot be told; settling again is safe and finds out.
   */
  settle(settlement: Settlement): Promise<boolean> {
    return this.group.submit(settlement);
  }

  /**
   * Gives a claim back that surely had no effect, together with what it had reserved.
   * @returns false when it had gone to another attempt, and nothing was written.
   */
  async release(operation: AnyOperation, claim: Claim): Promise<boolean> {
    const [released] = await this.transactions.run((tx) => [
      this.claims.release(tx, [claim], this.config.idempotencyRetentionMs),
      operation.release(tx, [claim]),
    ]);
    return released > 0;
  }

  /**
   * Leaves a claim whose call has no known end to whoever asks next. `event` tells that the payment is open, and is
   * written once, when that becomes known first.
   * @returns whether that should be at once, because the provider has told of it meanwhile.
   */
  async postpone(claim: Claim, unknown: boolean, event: NewEvent | undefined): Promise<boolean> {
    const [, due] = await this.transactions.run((tx) => [
      this.openClaims.lockResources(tx, [claim.resourceId]),
      this.openClaims.postpone(tx, claim, unknown, this.config.idempotencyLeaseMs),
      ...(event === undefined
        ? []
        : [this.payments.countPending(tx, claim, event.transactionId), this.events.append(tx, [event])]),
    ]);
    if (event !== undefined) this.relay.kick();
    return due;
  }

  private async commit(settlements: Settlement[]): Promise<boolean[]> {
    const sorted = settlements.toSorted(byKey);
    const payments = sorted.flatMap(({ claim, payment, event }) =>
      payment ? [{ claim, change: payment, event: event !== undefined }] : [],
    );
    const refunds = sorted.flatMap(({ claim, refund }) => (refund ? [{ claim, change: refund }] : []));
    const reversals = sorted.flatMap(({ claim, reversal }) =>
      reversal ? [{ claim, change: reversal }] : [],
    );
    const ledger = sorted.flatMap((settlement) =>
      settlement.ledger ? [{ claim: settlement.claim, ledger: settlement.ledger }] : [],
    );
    const events = sorted.flatMap(({ event }) => (event ? [event] : []));
    // The claims come first: the statements after them act for the claims that this one completed.
    const [completed] = await this.transactions.run((tx) => [
      this.claims.complete(tx, sorted, this.config.idempotencyRetentionMs),
      this.payments.settle(tx, payments),
      this.refunds.settle(tx, refunds),
      this.reversals.settle(tx, reversals),
      this.ledger.append(tx, ledger),
      this.events.append(tx, events),
    ]);
    if (events.length > 0) this.relay.kick();
    return settlements.map(({ claim }) => completed.has(claim.claimId));
  }
}

function byKey(a: Settlement, b: Settlement): number {
  return compareKeys(a.claim, b.claim);
}

/** The one order in which every group locks its rows. */
export function compareKeys(
  a: { merchantId: string; idempotencyKey: string },
  b: { merchantId: string; idempotencyKey: string },
): number {
  if (a.merchantId !== b.merchantId) return a.merchantId < b.merchantId ? -1 : 1;
  if (a.idempotencyKey === b.idempotencyKey) return 0;
  return a.idempotencyKey < b.idempotencyKey ? -1 : 1;
}
