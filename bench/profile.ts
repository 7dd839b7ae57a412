import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Books } from './books.js';
import { familyCpuTimeUs } from './cpu-time.js';
import { summarizeProfile } from './cpu-profile.js';
import type { LoadKind, LoadResult } from './load.js';
import type { BenchDatabase } from './machine.js';
import { loadServer, startReference, startService, type Server } from './processes.js';
import { markdown, TARGET_CONNECTIONS } from './report.js';

const COSTS = {
  warmUpMs: 3_000,
  measureMs: 6_000,
  connections: TARGET_CONNECTIONS,
  replayedKeys: 1_000,
} as const;
/** The profiler slows the service down, so it needs a run of its own. */
const PROFILED = { ...COSTS, measureMs: 10_000 } as const;

/** What an answer costs. All sides of it are idle now and then, and that time is in the figures. */
interface Cost {
  perSecond: number;
  nodeUs: number;
  postgresUs: number;
  /** Without full-page images: how many there are depends on the time since the last checkpoint. */
  walBytes: number;
}

/** What a charge and a replay cost, and then where a new charge's time goes, by Node's CPU profiler. */
export async function profile(database: BenchDatabase): Promise<number> {
  await showCosts(database);
  const folder = await database.folder('profile');
  const { server } = await startHapax(database, 'profiled', [`--cpu-prof`, `--cpu-prof-dir=${folder}`]);
  const result = await loadThenStop(server);
  const [file] = await readdir(folder);
  if (file === undefined) throw new Error('the service left no profile');
  console.log(
    `\nUnder the profiler: ${result.perSecond.toFixed(0)} new charges/s at ${PROFILED.connections} connections.\n`,
  );
  console.log(await summarizeProfile(join(folder, file), result.fromUs, result.toUs));
  return 0;
}

async function showCosts(database: BenchDatabase): Promise<void> {
  const { server, books } = await startHapax(database, 'costs');
  const empty = await startReference('empty-route');
  try {
    await database.query(books.url, 'CREATE EXTENSION pg_walinspect');
    const measure = (from: Server, kind: LoadKind): Promise<Cost> => costOf(database, books, from, kind);
    console.log(
      `\nWhat an answer costs, at ${COSTS.connections} connections:\n\n${markdown([
        ['answer', 'Node µs', 'PostgreSQL µs', 'WAL bytes', 'per second'],
        row('new charge', await measure(server, 'new')),
        row('replay', await measure(server, 'replay')),
        row('empty validated route', await measure(empty, 'new')),
      ])}`,
    );
  } finally {
    await server.stop();
    await empty.stop();
  }
}

function row(name: string, { nodeUs, postgresUs, walBytes, perSecond }: Cost): string[] {
  return [name, ...[nodeUs, postgresUs, walBytes, perSecond].map((figure) => figure.toFixed(0))];
}

async function costOf(
  database: BenchDatabase,
  { url }: Books,
  server: Server,
  kind: LoadKind,
): Promise<Cost> {
  await database.checkpoint();
  const log = (): Promise<string> => position(database, url);
  let before = { postgresUs: Number.NaN, log: log() };
  const { answers, perSecond, nodeUs } = await loadServer(server, { ...COSTS, kind }, () => {
    before = { postgresUs: familyCpuTimeUs(database.pid), log: log() };
  });
  const postgresUs = familyCpuTimeUs(database.pid) - before.postgresUs;
  const walBytes = await logged(database, url, await before.log, await log());
  return { perSecond, nodeUs, postgresUs: postgresUs / answers, walBytes: walBytes / answers };
}

async function position(database: BenchDatabase, url: string): Promise<string> {
  const [at] = await database.query<{ lsn: string }>(url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
  return at?.lsn ?? '';
}

async function logged(database: BenchDatabase, url: string, from: string, to: string): Promise<number> {
  if (from === to) return 0;
  const [sum] = await database.query<{ bytes: number }>(
    url,
    `SELECT sum(record_size)::float8 AS bytes FROM pg_get_wal_stats('${from}', '${to}')`,
  );
  return sum?.bytes ?? Number.NaN;
}

async function startHapax(
  database: BenchDatabase,
  name: string,
  nodeOptions: readonly string[] = [],
): Promise<{ server: Server; books: Books }> {
  const books = new Books(database, await database.create(name));
  const dataDir = await database.folder(`service-${name}`);
  return { server: await startService({ databaseUrl: books.url, dataDir, nodeOptions }), books };
}

/** Node writes the profile when the service ends. */
async function loadThenStop(server: Server): Promise<LoadResult> {
  try {
    return await loadServer(server, { ...PROFILED, kind: 'new' });
  } finally {
    await server.stop();
  }
}
