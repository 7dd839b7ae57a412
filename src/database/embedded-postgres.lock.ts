import { mkdir, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartupError } from '../config/startup-error.js';
import { embeddedPostgresFiles, errorCode, isAlive, readIfExists } from './embedded-postgres.files.js';

/** A holder that is alive gets this long: it may just be reporting in, or on its last steps out. */
const LIVE_HOLDER_GRACE_MS = 1_000;
/** A dead service's supervisor gets this long to stop PostgreSQL. */
const DEAD_HOLDER_GRACE_MS = 15_000;
const RETRY_MS = 50;
const SQLITE_BUSY = 5;

/**
 * Makes this process the only one that starts, stops or repairs the PostgreSQL of a data folder.
 *
 * `postmaster.pid` alone cannot do that: whether it is stale is a guess, and two starts that guess at once remove each
 * other's. The operating system's file locks end with their process and cannot be stale; Node reaches them on every
 * platform through one thing only, SQLite, so the lock is an empty SQLite database that is never written.
 *
 * @throws StartupError when another process holds it
 */
export async function lockDataDir(dataDir: string, servicePid: number): Promise<void> {
  const files = embeddedPostgresFiles(dataDir);
  await attempt(dataDir, () => mkdir(dataDir, { recursive: true }));
  const lock = await attempt(dataDir, () => new DatabaseSync(files.lock, { timeout: 0 }));
  const start = Date.now();
  while (!tryLock(lock)) {
    const holder = Number(await readIfExists(files.owner)) || null;
    const grace = holder !== null && !isAlive(holder) ? DEAD_HOLDER_GRACE_MS : LIVE_HOLDER_GRACE_MS;
    if (Date.now() - start > grace) {
      throw new StartupError(
        `The data folder ${dataDir} is already in use by another Hapax process (pid ${holder ?? 'unknown'}): ` +
          'stop it first, or set DATA_DIR to another folder',
      );
    }
    await sleep(RETRY_MS);
  }
  // Held until the process ends, however it ends. The listener also keeps the lock from being garbage-collected.
  process.once('exit', () => lock.close());
  await attempt(dataDir, () => writeFile(files.owner, `${servicePid}\n`));
}

async function attempt<T>(dataDir: string, step: () => T | Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    const code = errorCode(error);
    const reason =
      code === 'ERR_SQLITE_ERROR' || code === 'EACCES' ? 'permission denied' : (code ?? String(error));
    throw new StartupError(
      `The data folder ${dataDir} cannot be written (${reason}): start Hapax as the user that owns it, or set DATA_DIR to another folder`,
      { cause: error },
    );
  }
}

function tryLock(lock: DatabaseSync): boolean {
  try {
    // No journal file: there is nothing to roll back.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return false;
    throw error;
  }
}
