import { Injectable } from '@nestjs/common';
import { PipelinedTransactions, type Transaction } from '../database/pipelined-transactions.js';

/** The next database transaction gets at least this number. */
const NEXT_TRANSACTION = 'pg_snapshot_xmax(pg_current_snapshot())::text::bigint';
/** Every database transaction with a lower number has ended, and its writes are visible. */
const OLDEST_RUNNING_TRANSACTION = 'pg_snapshot_xmin(pg_current_snapshot())::text::bigint';

/**
 * The SQL of `ledger_closing`. Each entry's place, its `log_position`, is the number of its database transaction plus
 * a base that never falls. Numbers are given out before transactions commit, so of two entries the one with the lower
 * place may appear later. But nothing can appear any more below the oldest transaction that still runs. The books are
 * closed up to there, and the trigger on `ledger_entries` enforces it for every writer.
 */
@Injectable()
export class ClosingStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /** Closes the books as far as possible now, and returns the place below which everything is final. */
  async close(): Promise<bigint> {
    const [row] = await this.transactions.read<{ closedBelow: string }>({
      name: 'ledger_closing.close',
      text: `
        UPDATE ledger_closing c SET closed_below = greatest(c.closed_below, c.xid_base + ${OLDEST_RUNNING_TRANSACTION})
        WHERE c.only_row
        RETURNING c.closed_below AS "closedBelow"`,
      values: [],
    });
    if (row === undefined) throw new Error('ledger_closing has lost its one row');
    return BigInt(row.closedBelow);
  }

  /**
   * Whether transactions now get lower numbers than those that wrote the closed books. A server's numbers only rise,
   * so this database was dumped and restored on another server.
   */
  async isBehind(): Promise<boolean> {
    const [row] = await this.transactions.read<{ behind: boolean }>({
      name: 'ledger_closing.is_behind',
      text: `SELECT c.xid_base + ${NEXT_TRANSACTION} < c.closed_below AS behind FROM ledger_closing c WHERE c.only_row`,
      values: [],
    });
    return row?.behind ?? false;
  }

  /**
   * Keeps writers out until the end of the transaction, and waits for those that have begun. Only for {@link reopen}:
   * one of them may have read the base that is about to change.
   */
  async lockOutWriters(tx: Transaction): Promise<void> {
    await tx.query({
      name: 'ledger_closing.lock_out_writers',
      text: 'LOCK TABLE ledger_entries IN SHARE MODE',
      values: [],
    });
  }

  /**
   * Raises the base if places are behind the closed books, so that new ones lie above them. Snapshots stay, and stay
   * right.
   */
  async reopen(tx: Transaction): Promise<void> {
    await tx.query({
      name: 'ledger_closing.reopen',
      text: `
        UPDATE ledger_closing c SET xid_base = c.closed_below
        WHERE c.only_row AND c.xid_base + pg_current_xact_id()::text::bigint < c.closed_below`,
      values: [],
    });
  }
}
