import { parseArgs } from 'node:util';
import { SANDBOX_MERCHANT_ID } from '../src/auth/sandbox-seed.js';
import { loadConfig } from '../src/config/load-config.js';
import { runMigrations } from '../src/database/migrations.js';
import { benchAgainst } from './against.js';
import { benchBalances, DEFAULT_ENTRIES, MAX_ENTRIES } from './balances.js';
import { Books } from './books.js';
import { recordCharge } from './charge-statements.js';
import { CHARGE_BODY } from './charge-request.js';
import { benchLocked } from './locked.js';
import type { LoadJob, LoadKind } from './load.js';
import { benchExpiry } from './expiry.js';
import { describeMachine, startBenchDatabase, type BenchDatabase } from './machine.js';
import { findPgbench, pgbenchScript, runPgbench, type PgbenchScript } from './pgbench.js';
import { CHECK, FULL, QUICK, type Plan } from './plan.js';
import { profile } from './profile.js';
import { loadServer, startReference, startService, type Server } from './processes.js';
import { conclude, SUBJECT_NAMES, type Measurement, type Subject } from './report.js';

/** A lone connection has little variance and no queue, so it needs less time. */
const LONE_MEASURE_MS = 3_000;
/**
 * Not 256: PostgreSQL allows 200 connections here. One payment at a time on 64 is the best that a pool of 64 could do.
 */
const PGBENCH_CLIENTS = [1, 64];
const RECORDED_KEY = 'bench-recorded-charge';

interface HttpSubject {
  server: Server;
  subjects: Partial<Record<LoadKind, Subject>>;
  books: Books | null;
}

/** @returns how many targets were missed */
async function bench(database: BenchDatabase, plan: Plan): Promise<number> {
  const pgbench = await preparePgbench(database);
  if (pgbench === null)
    console.log('pgbench is neither on the PATH nor in /usr/lib/postgresql: its reference is skipped.');
  const subjects = await startSubjects(database);
  const measurements: Measurement[] = [];
  const add = (measurement: Measurement): void => {
    measurements.push(measurement);
    const { subject, connections, perSecond, p50Ms, p99Ms } = measurement;
    const figures = `${perSecond.toFixed(0)}/s, p50 ${p50Ms.toFixed(2)} ms, p99 ${p99Ms.toFixed(2)} ms`;
    console.log(`${SUBJECT_NAMES[subject]}, ${connections} connections: ${figures}`);
  };
  try {
    for (let round = 1; round <= plan.rounds; round += 1) {
      console.log(`\nRound ${round} of ${plan.rounds}`);
      // All subjects run in turn at one number of connections, so that a noisy minute affects them all.
      for (const connections of plan.connections) {
        for (const subject of subjects) await measureHttp(database, subject, connections, plan, add);
        if (pgbench !== null && PGBENCH_CLIENTS.includes(connections)) {
          await database.checkpoint();
          add(await pgbench.measure(connections, plan));
        }
      }
    }
    for (const { books } of subjects) await books?.check();
    await pgbench?.books.check();
  } finally {
    for (const { server } of subjects) await server.stop();
  }
  return conclude(plan, `${plan.rounds} round(s)`, measurements);
}

async function startSubjects(database: BenchDatabase): Promise<HttpSubject[]> {
  const hapax = await prepareHapax(database);
  const findUrl = await database.create('find_then_save');
  const { databasePoolSize } = loadConfig({});
  return [
    {
      server: await startService({ databaseUrl: hapax.url, dataDir: await database.folder('hapax') }),
      subjects: { new: 'hapax-new', replay: 'hapax-replay' },
      books: hapax,
    },
    {
      server: await startReference('find-then-save', [findUrl, String(databasePoolSize)]),
      subjects: { new: 'find-new', replay: 'find-replay' },
      books: new Books(database, findUrl),
    },
    {
      server: await startReference('empty-route'),
      subjects: { new: 'empty' },
      books: null,
    },
  ];
}

async function prepareHapax(database: BenchDatabase): Promise<Books> {
  return new Books(database, await database.create('charges'));
}

async function measureHttp(
  database: BenchDatabase,
  { server, subjects, books }: HttpSubject,
  connections: number,
  plan: Plan,
  add: (measurement: Measurement) => void,
): Promise<void> {
  for (const [kind, subject] of Object.entries(subjects) as [LoadKind, Subject][]) {
    await database.checkpoint();
    const result = await loadServer(server, { ...loadJob(connections, plan), kind });
    if (books !== null) books.charges += result.charges;
    add({ ...result, subject, connections });
  }
}

function loadJob(
  connections: number,
  { warmUpMs, measureMs, replayedKeys }: Plan,
): Omit<LoadJob, 'kind' | 'port' | 'saysReplayed'> {
  return {
    connections,
    warmUpMs,
    replayedKeys,
    measureMs: connections === 1 ? Math.min(measureMs, LONE_MEASURE_MS) : measureMs,
  };
}

interface Pgbench {
  books: Books;
  measure(clients: number, plan: Plan): Promise<Measurement>;
}

async function preparePgbench(database: BenchDatabase): Promise<Pgbench | null> {
  const program = await findPgbench();
  if (program === null) return null;
  const books = new Books(database, await database.create('pgbench'));
  const folder = await database.folder('pgbench');
  const script = await recordScript(books, await database.folder('pgbench/service'));
  const measure = async (clients: number, { warmUpMs, measureMs }: Plan): Promise<Measurement> => {
    const job = {
      program,
      script,
      folder,
      clients,
      warmUpMs,
      measureMs,
      databaseUrl: books.url,
      firstNumber: books.charges,
    };
    const result = await runPgbench(job);
    books.charges += result.charges;
    return { ...result, subject: 'pgbench', connections: clients, generatorCpu: null, nodeUs: null };
  };
  return { books, measure };
}

async function recordScript(books: Books, dataDir: string): Promise<PgbenchScript> {
  await runMigrations(books.url);
  const recorded = await recordCharge(books.url, dataDir, RECORDED_KEY);
  books.charges += 1;
  return pgbenchScript(recorded, RECORDED_KEY, [
    SANDBOX_MERCHANT_ID,
    JSON.parse(CHARGE_BODY).user_id as string,
  ]);
}

/** Never resolves. Rejects on Ctrl-C, so that the database's folder is removed even then. */
function interrupted(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => reject(new Error(signal)));
  });
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean' },
      check: { type: 'boolean' },
      profile: { type: 'boolean' },
      balances: { type: 'boolean' },
      locked: { type: 'boolean' },
      expiry: { type: 'boolean' },
      against: { type: 'string' },
      entries: { type: 'string', default: String(DEFAULT_ENTRIES) },
    },
  });
  const entries = Number(values.entries);
  if (!Number.isSafeInteger(entries) || entries < 2 || entries > MAX_ENTRIES || entries % 2 > 0) {
    throw new Error(`--entries must be an even number from 2 to ${MAX_ENTRIES}`);
  }
  const plan = values.check === true ? CHECK : values.quick === true ? QUICK : FULL;
  const database = await startBenchDatabase();
  try {
    console.log(`${describeMachine()}, shared by the subjects, PostgreSQL and the load generator`);
    console.log(
      Object.entries(database.settings)
        .map(([name, value]) => `${name} = ${value}`)
        .join(', '),
    );
    if (values.balances === true)
      return await Promise.race([benchBalances(database, entries), interrupted()]);
    if (values.locked === true)
      return await Promise.race([benchLocked(database, values.against), interrupted()]);
    if (values.expiry === true) return await Promise.race([benchExpiry(database), interrupted()]);
    if (values.against !== undefined)
      return await Promise.race([benchAgainst(database, plan, values.against), interrupted()]);
    if (values.profile === true) return await Promise.race([profile(database), interrupted()]);
    return await Promise.race([bench(database, plan), interrupted()]);
  } finally {
    await database.stop();
  }
}

main().then(
  (missed) => process.exit(missed > 0 ? 1 : 0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
