import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { StartupError } from '../config/startup-error.js';
import {
  EMBEDDED_DATABASE,
  EMBEDDED_HOST,
  embeddedPostgresFiles,
  embeddedPostgresUrl,
  readIfExists,
  readPostmasterPid,
  removeLeftovers,
} from './data-folder.js';
import {
  BoundedLog,
  chooseAccount,
  collectTail,
  commandAs,
  exit,
  exitsWithin,
  findPrograms,
  reason,
  STOP_STEPS,
  type Account,
} from './programs.js';
import type { EmbeddedPostgresOptions } from './server.js';

/** Crash recovery may replay up to `max_wal_size` of log, which takes a while on a slow disk. */
const READY_LIMIT_MS = 120_000;
/** How long we wait for an earlier server's processes to die, or for a port that something else took. */
const OBSTACLE_LIMIT_MS = 20_000;
const READY_POLL_MS = 20;
const RETRY_MS = 200;
const RESTART_DELAY_MS = 1_000;
const PASSWORD_BYTES = 24;

/** Text compares by code point, so it sorts the same on every machine and with every C library. */
const INITDB_FLAGS = [
  '--auth=scram-sha-256',
  '--encoding=UTF8',
  '--locale=C',
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
  `--username=${EMBEDDED_DATABASE}`,
];

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: EMBEDDED_HOST,
  // All clients connect by TCP. A socket folder could be missing, taken, or have too long a path.
  unix_socket_directories: '',
  max_connections: '200',
  shared_buffers: '256MB',
  fsync: 'on',
  synchronous_commit: 'on',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // PASSING_OBSTACLES matches English text.
  lc_messages: 'C',
};

/** Failures that pass by themselves: an earlier server is still dying, or something else has the port. */
const PASSING_OBSTACLES =
  /pre-existing shared memory block|lock file "postmaster\.pid" already exists|could not bind|could not create any TCP\/IP sockets/;

/**
 * One PostgreSQL on one data folder: initialises a new one, repairs one that was left behind, starts the server, keeps
 * it running and stops it. The caller holds the folder's lock, so everything in it comes from processes that are gone.
 */
export class EmbeddedCluster {
  private readonly files;
  private readonly log: BoundedLog;
  private readonly stopping = new AbortController();
  /** The program that is running: first `initdb`, then the server. */
  private child: ChildProcess | null = null;

  constructor(
    private readonly dataDir: string,
    private readonly options: EmbeddedPostgresOptions,
  ) {
    this.files = embeddedPostgresFiles(dataDir);
    this.log = new BoundedLog(this.files.log);
  }

  /** @returns the URL of the database, which exists and accepts connections. */
  async start(): Promise<string> {
    const programs = findPrograms();
    const account = await chooseAccount(programs.initdb, this.dataDir, this.files.cluster);
    const password = await this.initialise(programs.initdb, account);
    const port = await this.startServer(programs.postgres, account, this.options.port);
    await createDatabase(embeddedPostgresUrl(port, password, 'postgres'));
    return embeddedPostgresUrl(port, password);
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    const child = this.child;
    if (child === null) return;
    for (const [signal, limitMs] of STOP_STEPS) {
      child.kill(signal);
      if (await exitsWithin(child, limitMs)) return;
    }
  }

  /**
   * Creates the cluster under another name and renames it when complete, so an interrupted `initdb` leaves nothing
   * that looks like a database.
   * @returns the password
   */
  private async initialise(initdb: string, account: Account): Promise<string> {
    const { cluster, unfinished } = this.files;
    await rm(unfinished, { recursive: true, force: true, maxRetries: 10 });
    const password = (await readIfExists(this.files.password))?.trim() ?? '';
    if (await exists(join(cluster, 'PG_VERSION'))) {
      if (password !== '') return this.adopt(password, account);
      throw new StartupError(
        `The database in ${cluster} has lost its password file ${this.files.password}: put it back, or remove both to start afresh`,
      );
    }
    const newPassword = randomBytes(PASSWORD_BYTES).toString('hex');
    await mkdir(unfinished, { mode: 0o700 });
    const passwordFile = join(unfinished, 'password');
    await writeFile(passwordFile, `${newPassword}\n`, { mode: 0o600 });
    for (const path of [unfinished, passwordFile]) await giveTo(account, path);

    const target = join(unfinished, 'cluster');
    const child = this.spawn(account, initdb, [
      ...INITDB_FLAGS,
      `--pgdata=${target}`,
      `--pwfile=${passwordFile}`,
    ]);
    const output = collectTail(child, this.log);
    await exit(child);
    if (child.exitCode !== 0)
      throw new StartupError(`PostgreSQL could not create a database in ${cluster}: ${reason(output())}`);

    await writeDurably(this.files.password, `${newPassword}\n`);
    await rename(target, cluster);
    await syncFolder(this.dataDir);
    await rm(unfinished, { recursive: true, force: true });
    return newPassword;
  }

  /** PostgreSQL refuses a folder that was copied by root or with a wide umask, so correct its owner and mode. */
  private async adopt(password: string, account: Account): Promise<string> {
    const { cluster } = this.files;
    const { uid, mode } = await stat(cluster);
    if (account.owner !== null && uid !== account.owner.uid) {
      await exit(
        spawn('chown', ['-R', `${account.owner.uid}:${account.owner.gid}`, cluster], { stdio: 'ignore' }),
      );
    }
    if ((mode & 0o077) !== 0) await chmod(cluster, 0o700);
    return password;
  }

  /** @returns the port */
  private async startServer(postgres: string, account: Account, fixedPort?: number): Promise<number> {
    const giveUpAt = Date.now() + OBSTACLE_LIMIT_MS;
    for (;;) {
      await removeLeftovers(this.files);
      const port = fixedPort ?? (await freePort());
      const failure = await this.launch(postgres, account, port);
      if (failure === null) {
        this.child?.once('exit', () => void this.restart(postgres, account, port));
        return port;
      }
      if (!PASSING_OBSTACLES.test(failure) || Date.now() > giveUpAt || this.stopping.signal.aborted) {
        throw new StartupError(
          `PostgreSQL did not start in ${this.files.cluster}: ${reason(failure)} (log: ${this.files.log})`,
        );
      }
      await sleep(RETRY_MS);
    }
  }

  /** Without this, a server that the system killed to free memory would leave the service answering 503 for ever. */
  private async restart(postgres: string, account: Account, port: number): Promise<void> {
    while (!this.stopping.signal.aborted) {
      await sleep(RESTART_DELAY_MS);
      try {
        await this.startServer(postgres, account, port);
        return;
      } catch (error) {
        this.log.write(`${String(error)}\n`);
      }
    }
  }

  /** @returns null once the server accepts connections, or its output when it ended instead. */
  private async launch(postgres: string, account: Account, port: number): Promise<string | null> {
    const settings = { ...SETTINGS, ...this.options.settings, port: String(port) };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const server = this.spawn(account, postgres, ['-D', this.files.cluster, ...flags]);
    const output = collectTail(server, this.log);
    const ended = exit(server).then(() => true);
    const giveUpAt = Date.now() + READY_LIMIT_MS;
    do {
      // This file has a fixed format. The log is for people and may be translated.
      const postmaster = await readPostmasterPid(this.files.postmasterPid);
      if (postmaster?.pid === server.pid && postmaster?.ready) return null;
      if (Date.now() > giveUpAt) server.kill('SIGQUIT');
    } while (!(await Promise.race([ended, sleep(READY_POLL_MS, false)])));
    return output();
  }

  private spawn(account: Account, program: string, args: readonly string[]): ChildProcess {
    if (this.stopping.signal.aborted)
      throw new StartupError('PostgreSQL was told to stop before it had started');
    const { command, args: allArgs, options } = commandAs(account, program, args);
    const child = spawn(command, allArgs, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    return child;
  }
}

async function createDatabase(url: string): Promise<void> {
  const client = new Client({ connectionString: url, ssl: false });
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [
      EMBEDDED_DATABASE,
    ]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${EMBEDDED_DATABASE}`);
  } finally {
    await client.end();
  }
}

/** Free at this moment. Something else may take it before the server binds it. */
async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, EMBEDDED_HOST, () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

async function giveTo({ owner }: Account, path: string): Promise<void> {
  if (owner !== null) await chown(path, owner.uid, owner.gid);
}

/** This is the only copy of the password, so it must be on disk before the first payment is. */
async function writeDurably(file: string, text: string): Promise<void> {
  await rm(file, { force: true });
  const handle = await open(file, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  // Windows cannot sync a folder.
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
