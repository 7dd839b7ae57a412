import { CHECKS, type Check } from './checks.js';

/** A dedicated connection, such as a `pg` client: the checks run in one long transaction. */
interface VerificationConnection {
  query(sql: string): Promise<{ rows: unknown[] }>;
}

export interface CheckResult extends Pick<Check, 'name' | 'holds'> {
  /** The first few rows that break it. */
  broken: Record<string, unknown>[];
  /** Whether there are more such rows than `broken` shows. */
  more: boolean;
}

/** Enough to see the kind of damage. A damaged table may have millions of such rows. */
const SHOWN_ROWS = 20;

/**
 * Sums over whole tables need memory, time, and other plans than the service uses. All checks share one snapshot and
 * take no locks: charges continue, and the checks do not see their changes.
 */
const BEGIN = `
  BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
  SET LOCAL statement_timeout = 0;
  SET LOCAL idle_in_transaction_session_timeout = 0;
  SET LOCAL work_mem = '128MB'`;

/** Checks the whole database in one snapshot. The service may be running. */
export async function verify(connection: VerificationConnection): Promise<CheckResult[]> {
  await connection.query(BEGIN);
  try {
    const results: CheckResult[] = [];
    for (const { name, holds, sql } of CHECKS) {
      const { rows } = await connection.query(`SELECT * FROM (${sql}) AS broken LIMIT ${SHOWN_ROWS + 1}`);
      const broken = rows.slice(0, SHOWN_ROWS) as Record<string, unknown>[];
      results.push({ name, holds, broken, more: rows.length > SHOWN_ROWS });
    }
    return results;
  } finally {
    await connection.query('ROLLBACK');
  }
}
