import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { startEmbeddedPostgres } from '../src/embedded-postgres/server.js';

export interface BenchDatabase {
  /** Creates an empty database and returns its URL. */
  create(name: string): Promise<string>;
  query<Row extends object>(url: string, sql: string): Promise<Row[]>;
  /** Writes out the last run's dirty pages, so that the next run does not pay for them. */
  checkpoint(): Promise<void>;
  /** A folder that is removed when the bench ends. */
  folder(name: string): Promise<string>;
  settings: Readonly<Record<string, string>>;
  /** The server's first process, which has one child for each connection. */
  pid: number;
  stop(): Promise<void>;
}

const SHOWN_SETTINGS = [
  'server_version',
  'fsync',
  'synchronous_commit',
  'full_page_writes',
  'wal_sync_method',
  'shared_buffers',
];

/** A PostgreSQL for this run alone, fully durable: a rate without fsync would measure something else. */
export async function startBenchDatabase(): Promise<BenchDatabase> {
  const root = await mkdtemp(join(tmpdir(), 'hapax-bench-'));
  // PostgreSQL does not run as root, and its user must be able to enter the folder.
  await chmod(root, 0o755);
  const remove = (): Promise<void> => rm(root, { recursive: true, force: true, maxRetries: 3 });
  const server = await startEmbeddedPostgres(join(root, 'postgres')).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  const stop = (): Promise<void> => server.stop().then(remove);
  try {
    const settings = await readSettings(server.url);
    for (const name of ['fsync', 'synchronous_commit']) {
      if (settings[name] !== 'on')
        throw new Error(`${name} is ${settings[name]}: nothing measured like that counts`);
    }
    return {
      settings,
      pid: await postmasterPid(server.url),
      stop,
      query: (url, sql) => query(url, sql),
      checkpoint: async () => void (await query(server.url, 'CHECKPOINT')),
      create: async (name) => {
        await query(server.url, `CREATE DATABASE ${name}`);
        const url = new URL(server.url);
        url.pathname = `/${name}`;
        return url.href;
      },
      folder: async (name) => {
        const path = join(root, name);
        await mkdir(path, { recursive: true });
        return path;
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

export function describeMachine(): string {
  const memoryGiB = Math.round(totalmem() / 1024 ** 3);
  return `${cpus().length} cores (${cpus()[0]?.model ?? 'unknown'}), ${memoryGiB} GiB, Node ${process.version}, ${process.platform}`;
}

async function readSettings(url: string): Promise<Record<string, string>> {
  const settings: Record<string, string> = {};
  for (const name of SHOWN_SETTINGS) {
    const [row] = await query<Record<string, string>>(url, `SHOW ${name}`);
    settings[name] = row?.[name] ?? '';
  }
  return settings;
}

/** The first line of the file that the server keeps in its folder. */
async function postmasterPid(url: string): Promise<number> {
  const sql = `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int AS pid`;
  const [row] = await query<{ pid: number }>(url, sql);
  return row?.pid ?? Number.NaN;
}

async function query<Row extends object>(url: string, sql: string): Promise<Row[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Row>(sql)).rows;
  } finally {
    await client.end();
  }
}
