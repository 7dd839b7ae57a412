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
} from './embedded-postgres.files.js';

export interface EmbeddedPostgresServer {
  readonly url: string;
  /** Ends within {@link STOP_LIMIT_MS}, and may be called again. Data is safe either way. */
  readonly stop: () => Promise<void>;
}

export interface EmbeddedPostgresOptions {
  /** A fixed port instead of a free one. */
  readonly port?: number;
  /** More of PostgreSQL's settings, such as `{ fsync: 'off' }` where a test does not need its data tomorrow. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** What the supervisor is told, as its one argument. */
export interface SupervisorJob extends EmbeddedPostgresOptions {
  readonly dataDir: string;
  readonly servicePid: number;
}

/** What the supervisor answers, once. */
export type SupervisorReport = { readonly url: string } | { readonly failure: string };

/** The supervisor needs at most 4 s to stop PostgreSQL, its last resort included. */
const STOP_LIMIT_MS = 5_000;
const CONNECT_LIMIT_MS = 3_000;
const SUPERVISOR = fileURLToPath(new URL('./embedded-postgres.process.js', import.meta.url));

/**
 * Starts PostgreSQL on a data folder, which is created and initialised when new. Its data is as safe as in any other
 * PostgreSQL: `fsync` and `synchronous_commit` are on.
 *
 * The server belongs to a small supervisor process, not to us. Ctrl-C goes to every process of the terminal, and
 * PostgreSQL must outlive it until requests in flight are done; and when we die without a word, even by SIGKILL,
 * somebody must still be there to stop it. The supervisor has a session of its own and sees our end as the end of its
 * IPC channel.
 *
 * @throws StartupError one sentence, such as that another process uses the folder
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
  // From here on it is no reason to keep our process running: if we end, so does it.
  supervisor.unref();
  supervisor.channel?.unref();
  return { url: report.url, stop: () => stopSupervisor(supervisor) };
}

/**
 * The URL of the server that runs on this data folder right now, started by whichever process, or null.
 * @throws StartupError when the folder may not be read
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

/** A recorded port may by now be anybody's, so the server there has to name our folder as its own. */
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
  // The channel may close in between, which tells the supervisor the same.
  if (supervisor.connected) supervisor.send('stop', () => undefined);
  const limit = setTimeout(() => supervisor.kill('SIGKILL'), STOP_LIMIT_MS);
  await exited;
  clearTimeout(limit);
}
