import { spawnSync } from 'node:child_process';
import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { STOP_STEPS } from './programs.js';

/** The name of the database and of the role that owns it. */
export const EMBEDDED_DATABASE = 'hapax';
export const EMBEDDED_HOST = '127.0.0.1';

/** Paths of everything that belongs to an embedded PostgreSQL in its data folder. */
export function embeddedPostgresFiles(dataDir: string) {
  return {
    cluster: join(dataDir, 'postgres'),
    /** A cluster that is being created: renamed to `cluster` when complete, removed when found at a start. */
    unfinished: join(dataDir, 'postgres.new'),
    password: join(dataDir, 'postgres.password'),
    log: join(dataDir, 'postgres.log'),
    lock: join(dataDir, 'postgres.lock'),
    /** Process id of the service that holds the lock, for the message that refuses a second start. */
    owner: join(dataDir, 'postgres.owner'),
    postmasterPid: join(dataDir, 'postgres', 'postmaster.pid'),
  };
}

type DataFolderFiles = ReturnType<typeof embeddedPostgresFiles>;

export function embeddedPostgresUrl(port: number, password: string, database = EMBEDDED_DATABASE): string {
  return `postgres://${EMBEDDED_DATABASE}:${encodeURIComponent(password)}@${EMBEDDED_HOST}:${port}/${database}`;
}

/** What a postmaster wrote about itself. Before it is up, or after a crash, any of it may be out of date. */
interface PostmasterPid {
  readonly pid: number;
  readonly port: number;
  readonly ready: boolean;
}

/** Line numbers in `postmaster.pid`, from PostgreSQL's `src/include/utils/pidfile.h` but counted from zero. */
const PID_LINE = 0;
const PORT_LINE = 3;
const STATUS_LINE = 7;

/** @returns null when the file does not exist or has no process id in it yet. */
export async function readPostmasterPid(file: string): Promise<PostmasterPid | null> {
  const lines = (await readIfExists(file))?.split('\n') ?? [];
  const pid = Number(lines[PID_LINE]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return null;
  return { pid, port: Number(lines[PORT_LINE]), ready: lines[STATUS_LINE]?.trim() === 'ready' };
}

/** @returns null when the file does not exist. Any other failure is thrown. */
export async function readIfExists(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}

/** The `code` of a system error, such as `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  const { code } = Object(error) as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

/** Whether a process with this id exists, ours or another user's. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

const POLL_MS = 20;

/**
 * Stops a server whose supervisor was killed, and removes the `postmaster.pid` of a server that is gone. The caller
 * must hold the folder's lock: only then can no other service be using a server that still runs.
 */
export async function removeLeftovers(files: DataFolderFiles): Promise<void> {
  const postmaster = await readPostmasterPid(files.postmasterPid);
  if (postmaster !== null && (await isServerOf(postmaster.pid, files.cluster))) {
    for (const [signal, limitMs] of STOP_STEPS) {
      kill(postmaster.pid, signal);
      if (await diesWithin(postmaster.pid, limitMs)) break;
    }
  }
  // Another process may have that id by now, and PostgreSQL would refuse to start.
  await rm(files.postmasterPid, { force: true });
}

/** Whether this process is the server of this cluster, and not a later process that was given the same id. */
async function isServerOf(pid: number, cluster: string): Promise<boolean> {
  if (!isAlive(pid)) return false;
  if (process.platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-p', String(pid), '-o', 'args='], { encoding: 'utf8' });
    return stdout?.includes(cluster) ?? false;
  }
  // A postmaster's working folder is its cluster. If we may not look, another user owns it, so it is not ours.
  const workingFolder = await readlink(`/proc/${pid}/cwd`).catch(() => null);
  return (
    workingFolder === (await realpath(cluster)) &&
    (await readIfExists(`/proc/${pid}/comm`))?.trim() === 'postgres'
  );
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}

async function diesWithin(pid: number, limitMs: number): Promise<boolean> {
  const giveUpAt = Date.now() + limitMs;
  while (isAlive(pid) && Date.now() < giveUpAt) await sleep(POLL_MS);
  return !isAlive(pid);
}
