import { Injectable } from '@nestjs/common';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';

interface Reaped {
  /** How many answers had expired, up to the limit. */
  count: number;
  /** When the last of them expired; null if there was none. */
  through: Date | null;
}

/** The SQL that forgets stored answers when their lifetime is over. */
@Injectable()
export class ExpiredAnswersStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Deletes claims whose stored answers have expired, oldest first. What was made under a key still carries it.
   * @param from where the batch before ended, or null. The index keeps entries of deleted rows until the next vacuum.
   * That comes once a fifth of the table is gone, and without this bound every batch would walk over all of them.
   */
  async reap(limit: number, from: Date | null): Promise<Reaped> {
    const [row] = await this.transactions.read<Reaped>({
      name: 'expired_answers.reap',
      text: `
        WITH expired AS MATERIALIZED (
          SELECT ctid, expires_at FROM idempotency_keys
          WHERE status = 'completed' AND expires_at <= clock_timestamp()
            AND expires_at >= coalesce($2::timestamptz, '-infinity')
          ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ), deleted AS (
          DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM expired))
        )
        SELECT count(*)::int AS count, max(expires_at) AS through FROM expired`,
      values: [limit, from],
    });
    return row ?? { count: 0, through: null };
  }
}
