/**
 * The supervisor: the process between the service and its embedded PostgreSQL, started by `startEmbeddedPostgres`.
 * It holds the lock on the data folder, starts PostgreSQL, and stops it when told to or when the service is gone.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartupError } from '../config/startup-error.js';
import { EmbeddedCluster } from './cluster.js';
import { embeddedPostgresFiles, errorCode, isAlive, readIfExists } from './data-folder.js';
import type { SupervisorJob, SupervisorReport } from './server.js';

/** How long we wait for a lock whose service is alive: it may be starting up, or about to exit. */
const LIVE_HOLDER_GRACE_MS = 1_000;
/** How long we wait for the supervisor of a dead service to stop PostgreSQL. */
const DEAD_HOLDER_GRACE_MS = 15_000;
const RETRY_MS = 50;
const SQLITE_BUSY = 5;

const job = JSON.parse(process.argv[2] ?? '') as SupervisorJob;
const cluster = new EmbeddedCluster(job.dataDir, job);

// Signals are meant for the service, which tells us to stop when it is done. Service managers and closed terminals may
// send them to every process they find.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('message', (message) => {
  if (message === 'stop') void shutDown(0);
});
process.once('disconnect', () => void shutDown(0));

await run();

async function run(): Promise<void> {
  try {
    await lockDataDir(job.dataDir, job.servicePid);
    const url = await cluster.start();
    report({ url });
  } catch (error) {
    report({ failure: sentence(error) });
    await shutDown(1);
  }
  if (!process.connected) await shutDown(0);
}

async function shutDown(code: number): Promise<void> {
  await cluster.stop();
  // Exiting also releases the lock, so the folder is free only once PostgreSQL has stopped.
  process.exit(code);
}

/** Skipped when the service is gone: there is no other reader. */
function report(message: SupervisorReport): void {
  if (process.connected) process.send?.(message, undefined, {}, () => undefined);
}

function sentence(error: unknown): string {
  if (error instanceof StartupError) return error.message;
  return `The embedded PostgreSQL in ${job.dataDir} could not be started: ${error instanceof Error ? error.message : String(error)}`;
}

/**
 * Makes this process the only one that starts, stops or repairs the PostgreSQL of a data folder.
 *
 * `postmaster.pid` alone cannot do that: whether it is stale is a guess, and two starts that guess at the same time
 * remove each other's file. An operating system's file lock ends with its process, so it is never stale. The only way
 * to one from Node on every platform is SQLite, so the lock is an empty SQLite database that is never written.
 *
 * @throws StartupError when another process holds it
 */
async function lockDataDir(dataDir: string, servicePid: number): Promise<void> {
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
  // Held until the process ends, even by SIGKILL. The listener also keeps the lock from being garbage-collected.
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
    // In memory, because there is nothing to roll back and so no need for a journal file.
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return false;
    throw error;
  }
}
