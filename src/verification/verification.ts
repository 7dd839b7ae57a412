import { CHECKS, type Check } from './checks.js';

/** One connection of its own, such as a client of `pg`: the checks are one long transaction. */
interface VerificationConnection {
  query(sql: string): Promise<{ rows: unknown[] }>;
}

export interface CheckResult extends Pick<Check, 'name' | 'claim'> {
  /** What breaks it, the first few. */
  broken: Record<string, unknown>[];
  /** Whether more breaks it than `broken` shows. */
  more: boolean;
}

/** Enough to see what kind of damage it is; a damaged table may have millions. */
const SHOWN_ROWS = 20;

/**
 * Sums over all that there is need other plans than the service's, memory, and time. One snapshot for all checks, and
 * no locks: charges go on, and what they change meanwhile is not seen.
 */
const BEGIN = `
  BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
  SET LOCAL statement_timeout = 0;
  SET LOCAL idle_in_transaction_session_timeout = 0;
  SET LOCAL work_mem = '128MB'`;

/** Checks all that the database holds, as of one moment. It may be in use. */
export async function verify(connection: VerificationConnection): Promise<CheckResult[]> {
  await connection.query(BEGIN);
  try {
    const results: CheckResult[] = [];
    for (const { name, claim, sql } of CHECKS) {
      const { rows } = await connection.query(`SELECT * FROM (${sql}) AS broken LIMIT ${SHOWN_ROWS + 1}`);
      const broken = rows.slice(0, SHOWN_ROWS) as Record<string, unknown>[];
      results.push({ name, claim, broken, more: rows.length > SHOWN_ROWS });
    }
    return results;
  } finally {
    await connection.query('ROLLBACK');
  }
}
