import type { PipelinedTransactions } from '../database/pipelined-transactions.js';

/** A time in which calls were sent that the database has forgotten. */
export interface Restore {
  lostSince: Date;
  restoredAt: Date;
  endsAt: Date;
}

/** The restores in force, as SQL. Usually there is none, and the table is empty. */
const IN_FORCE = 'FROM restores r WHERE r.ends_at > statement_timestamp()';

/**
 * Columns of a claim that say when the calls were sent that the database has forgotten; null if it has forgotten none.
 * They come with the claim: from the moment in which a restore is committed, no process takes a claim without them.
 */
export const LOST_TAIL_COLUMNS = `
  (SELECT min(r.lost_since) ${IN_FORCE}) AS "lostSince", (SELECT max(r.restored_at) ${IN_FORCE}) AS "lostUntil"`;

const RESTORE_COLUMNS = 'lost_since AS "lostSince", restored_at AS "restoredAt", ends_at AS "endsAt"';

/** The SQL of `restores`. Each is in force at once, in every process. */
export class RestoresStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * From now on, what is sent for the first time is looked up first.
   * @returns null if `lostSince` is not in the past of the database's clock
   */
  async begin(lostSince: Date, durationMs: number): Promise<Restore | null> {
    const [restore] = await this.transactions.read<Restore>({
      name: 'restores.begin',
      text: `
        INSERT INTO restores (restored_at, lost_since, ends_at)
        SELECT now.at, $1, now.at + $2 * interval '1 millisecond'
        FROM (SELECT date_trunc('milliseconds', clock_timestamp()) AS at) now
        WHERE now.at > $1
        RETURNING ${RESTORE_COLUMNS}`,
      values: [lostSince, durationMs],
    });
    return restore ?? null;
  }

  /** Ends every restore that is in force, and returns them. */
  end(): Promise<Restore[]> {
    return this.transactions.read<Restore>({
      name: 'restores.end',
      text: `
        UPDATE restores SET ends_at = greatest(restored_at, statement_timestamp())
        WHERE ends_at > statement_timestamp()
        RETURNING ${RESTORE_COLUMNS}`,
      values: [],
    });
  }
}
