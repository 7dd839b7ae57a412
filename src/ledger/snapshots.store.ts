import { Injectable } from '@nestjs/common';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';

/** A merchant, and whether enough was booked since its last snapshot to be worth a new one. */
interface SnapshotCandidate {
  merchantId: string;
  due: boolean;
}

/** The SQL of `ledger_snapshots`. A snapshot at a horizon holds the sums of all entries with a lower `log_position`. */
@Injectable()
export class SnapshotsStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * The merchants after one, by id.
   * @param minEntries how many new entries make a snapshot due
   */
  candidates(after: string, limit: number, minEntries: number): Promise<SnapshotCandidate[]> {
    return this.transactions.read<SnapshotCandidate>({
      name: 'ledger_snapshots.candidates',
      text: `
        SELECT m.merchant_id AS "merchantId",
          EXISTS (
            SELECT FROM ledger_entries e
            WHERE e.merchant_id = m.merchant_id AND e.log_position >= coalesce(
              (SELECT max(s.horizon) FROM ledger_snapshots s WHERE s.merchant_id = m.merchant_id), 0)
            OFFSET $3 - 1
          ) AS due
        FROM merchants m
        WHERE m.merchant_id > $1
        ORDER BY m.merchant_id LIMIT $2`,
      values: [after, limit, minEntries],
    });
  }

  /**
   * Writes a merchant's next snapshot: the last one plus the entries since then below `closedBelow`. It takes about
   * `maxEntries` of them, in whole transactions. The books must be closed up to there. If another process does the
   * same, it writes the same rows, since the horizon decides what is in them.
   * @returns the new horizon, or null if nothing was written
   */
  async carryForward(merchantId: string, closedBelow: bigint, maxEntries: number): Promise<bigint | null> {
    const [row] = await this.transactions.read<{ horizon: string }>({
      name: 'ledger_snapshots.carry_forward',
      text: `
        WITH last AS MATERIALIZED (
          SELECT coalesce(max(s.horizon), 0) AS horizon FROM ledger_snapshots s WHERE s.merchant_id = $1
        ), next AS MATERIALIZED (
          SELECT least($2::bigint, greatest(1 + (
            SELECT min(e.log_position) FROM ledger_entries e
            WHERE e.merchant_id = $1 AND e.log_position >= last.horizon), coalesce((
            SELECT e.log_position FROM ledger_entries e
            WHERE e.merchant_id = $1 AND e.log_position >= last.horizon
            ORDER BY e.log_position OFFSET $3 LIMIT 1), $2))) AS horizon
          FROM last
        ), parts AS (
          SELECT s.account, s.currency, s.balance, s.entries
          FROM ledger_snapshots s
          WHERE s.merchant_id = $1 AND s.horizon = (SELECT horizon FROM last)
          UNION ALL
          SELECT e.account, e.currency, sum(e.amount), count(*)
          FROM ledger_entries e
          WHERE e.merchant_id = $1 AND e.log_position >= (SELECT horizon FROM last)
            AND e.log_position < (SELECT horizon FROM next)
          GROUP BY e.account, e.currency
        )
        INSERT INTO ledger_snapshots (merchant_id, horizon, account, currency, balance, entries, created_at)
        SELECT $1, next.horizon, p.account, p.currency, sum(p.balance), sum(p.entries), clock_timestamp()
        FROM parts p CROSS JOIN next
        WHERE next.horizon > (SELECT horizon FROM last)
        GROUP BY next.horizon, p.account, p.currency
        ON CONFLICT DO NOTHING
        RETURNING horizon`,
      values: [merchantId, closedBelow, maxEntries],
    });
    return row === undefined ? null : BigInt(row.horizon);
  }

  /** Deletes all but a merchant's newest snapshots. A statement that is reading one of the others still sees it. */
  async prune(merchantId: string, keep: number): Promise<void> {
    await this.transactions.read({
      name: 'ledger_snapshots.prune',
      text: `
        DELETE FROM ledger_snapshots s
        WHERE s.merchant_id = $1 AND s.horizon < (
          SELECT min(kept.horizon) FROM (
            SELECT DISTINCT k.horizon FROM ledger_snapshots k WHERE k.merchant_id = $1 ORDER BY k.horizon DESC LIMIT $2
          ) kept)`,
      values: [merchantId, keep],
    });
  }
}
