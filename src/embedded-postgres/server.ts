import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { StartupError } from '../config/startup-error.js';
import {
  embeddedPostgresFiles,
  embeddedPostgresUrl,
  errorCode,
  readIfExists,
  readPostmasterPid,
} from './data-folder.js';

export interface EmbeddedPostgresServer {
  readonly url: string;
  /** Takes at most {@link STOP_LIMIT_MS}, and may be called again. It loses no committed data. */
  readonly stop: () => Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** A fixed port instead of a free one. */
  readonly port?: number;
  /** More PostgreSQL settings, such as `{ fsync: 'off' }` in a test that needs no durable data. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** The supervisor's only argument, as JSON. */
export interface SupervisorJob extends EmbeddedPostgresOptions {
  readonly dataDir: string;
  readonly servicePid: number;
}

/** The supervisor's only answer. */
export type SupervisorReport = { readonly url: string } | { readonly failure: string };

/** The supervisor needs at most 4 s to stop PostgreSQL, SIGKILL included. */
const STOP_LIMIT_MS = 5_000;
const CONNECT_LIMIT_MS = 3_000;
const SUPERVISOR = fileURLToPath(new URL('./supervisor.js', import.meta.url));

/**
 * Starts PostgreSQL on a data folder, and creates and initialises the folder if it is new. The data is as safe as in
 * any PostgreSQL: `fsync` and `synchronous_commit` are on.
 *
 * The server is the child of a small supervisor process, not ours. Ctrl-C reaches every process of the terminal, but
 * PostgreSQL must stay up until requests in flight are done. And if we die suddenly, even by SIGKILL, something must be
 * left to stop it. So the supervisor has its own session, and learns of our end when its IPC channel closes.
 *
 * @throws StartupError with one sentence, such as that another process uses the folder
 */
export async function startEmbeddedPostgres(
  dataDir: string,
  options: EmbeddedPostgresOptions = {},
): Promise<EmbeddedPostgresServer> {
  const job: SupervisorJob = { ...options, dataDir: resolve(dataDir), servicePid: process.pid };
  const supervisor = fork(SUPERVISOR, [JSON.stringify(job)], {
    detached: true,
    // node:sqlite, which the lock uses, still warns that it is new.
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const report = await firstReport(supervisor);
  if ('failure' in report) throw new StartupError(report.failure);
  // From here on the supervisor must not keep our process running. It ends when we do.
  supervisor.unref();
  supervisor.channel?.unref();
  return { url: report.url, stop: () => stopSupervisor(supervisor) };
}

/**
 * The URL of the server that is running on this data folder, whichever process started it, or null.
 * @throws StartupError when the folder cannot be read
 */
export async function findEmbeddedPostgres(dataDir: string): Promise<string | null> {
  const files = embeddedPostgresFiles(resolve(dataDir));
  try {
    const postmaster = await readPostmasterPid(files.postmasterPid);
    const password = (await readIfExists(files.password))?.trim();
    if (!postmaster?.ready || !password) return null;
    const url = embeddedPostgresUrl(postmaster.port, password);
    return (await servesCluster(url, files.cluster)) ? url : null;
  } catch (error) {
    throw new StartupError(
      `The data folder ${dataDir} cannot be read (${errorCode(error) ?? String(error)})`,
      {
        cause: error,
      },
    );
  }
}

/** Another server may have taken the recorded port, so the server there has to name our folder as its own. */
async function servesCluster(url: string, cluster: string): Promise<boolean> {
  const client = new Client({ connectionString: url, ssl: false, connectionTimeoutMillis: CONNECT_LIMIT_MS });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory');
    return rows[0] !== undefined && (await realpath(rows[0].data_directory)) === (await realpath(cluster));
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function firstReport(supervisor: ChildProcess): Promise<SupervisorReport> {
  return new Promise((settle) => {
    supervisor.once('message', (report) => settle(report as SupervisorReport));
    supervisor.once('error', (error) =>
      settle({ failure: `PostgreSQL's supervisor could not be started: ${error.message}` }),
    );
    supervisor.once('exit', (code, signal) =>
      settle({
        failure: `PostgreSQL's supervisor ended before PostgreSQL was up (${signal ?? `code ${code}`})`,
      }),
    );
  });
}

async function stopSupervisor(supervisor: ChildProcess): Promise<void> {
  if (supervisor.exitCode !== null || supervisor.signalCode !== null) return;
  supervisor.ref();
  const exited = once(supervisor, 'exit');
  // If the channel closes before this is sent, the supervisor stops all the same.
  if (supervisor.connected) supervisor.send('stop', () => undefined);
  const limit = setTimeout(() => supervisor.kill('SIGKILL'), STOP_LIMIT_MS);
  await exited;
  clearTimeout(limit);
}
