import { setTimeout as sleep } from 'node:timers/promises';
import type { QueryRunner } from 'typeorm';

/** A table lock that waits makes everybody behind it wait as well, so each try waits only this long. */
const LOCK_TIMEOUT_MS = 300;
const PAUSE_MS = 1_000;
/** About six minutes: a backup or a report that holds its lock for longer should be ended by a person. */
const MAX_TRIES = 300;

const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Changes tables while charges run: all statements in one transaction, which gives up its place in the queue whenever it
 * cannot have its lock at once, and tries again. For migrations with `transaction = false`. Each statement must take only
 * a moment once it has its lock: a column without a default, or a constraint that is `NOT VALID`.
 * @throws the database's error if the lock could not be had in {@link MAX_TRIES} tries
 */
export async function changeOnline(db: QueryRunner, statements: readonly string[]): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    await db.startTransaction();
    try {
      await db.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}`);
      for (const statement of statements) await db.query(statement);
      await db.commitTransaction();
      return;
    } catch (error) {
      await db.rollbackTransaction();
      if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE || tries === MAX_TRIES) throw error;
      await sleep(PAUSE_MS);
    }
  }
}

/**
 * Builds an index while others read and write. For migrations with `transaction = false`. It may be repeated: a build
 * that was cut off leaves an index that is not valid.
 * @param definition what follows ON, such as `payments (merchant_id, currency)`
 */
export async function createIndexOnline(db: QueryRunner, name: string, definition: string): Promise<void> {
  await db.query(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  await db.query(`CREATE INDEX CONCURRENTLY ${name} ON ${definition}`);
}
