import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Name of the database and of the role that owns it. */
export const EMBEDDED_DATABASE = 'hapax';
export const EMBEDDED_HOST = '127.0.0.1';

/** Where everything of an embedded PostgreSQL lies inside the data folder. */
export function embeddedPostgresFiles(dataDir: string) {
  return {
    cluster: join(dataDir, 'postgres'),
    /** A cluster in the making: renamed to `cluster` when complete, thrown away when found at a start. */
    unfinished: join(dataDir, 'postgres.new'),
    password: join(dataDir, 'postgres.password'),
    log: join(dataDir, 'postgres.log'),
    lock: join(dataDir, 'postgres.lock'),
    /** Process id of the service that holds the lock, for the sentence that refuses a second start. */
    owner: join(dataDir, 'postgres.owner'),
    postmasterPid: join(dataDir, 'postgres', 'postmaster.pid'),
  };
}

export function embeddedPostgresUrl(port: number, password: string, database = EMBEDDED_DATABASE): string {
  return `postgres://${EMBEDDED_DATABASE}:${encodeURIComponent(password)}@${EMBEDDED_HOST}:${port}/${database}`;
}

/** What a postmaster wrote about itself. Until it is up, or after a crash, any of it may be out of date. */
export interface PostmasterPid {
  readonly pid: number;
  readonly port: number;
  readonly ready: boolean;
}

/** Lines of `postmaster.pid`, as in PostgreSQL's `src/include/utils/pidfile.h`, counted from zero. */
const PID_LINE = 0;
const PORT_LINE = 3;
const STATUS_LINE = 7;

/** @returns null when there is no such file, or not yet a process id in it. */
export async function readPostmasterPid(file: string): Promise<PostmasterPid | null> {
  const lines = (await readIfExists(file))?.split('\n') ?? [];
  const pid = Number(lines[PID_LINE]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return null;
  return { pid, port: Number(lines[PORT_LINE]), ready: lines[STATUS_LINE]?.trim() === 'ready' };
}

/** @returns null when the file does not exist; every other failure is thrown. */
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

/** Whether a process with this id exists, be it ours or not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}
