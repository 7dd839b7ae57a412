import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Books } from './books.js';
import { runLoad, type LoadKind } from './load.js';
import type { BenchDatabase } from './machine.js';
import { startService, type Server } from './processes.js';
import {
  ratios,
  SUBJECT_NAMES,
  table,
  TARGET_CONNECTIONS,
  type Measurement,
  type Subject,
  type Target,
} from './report.js';

/** Pairs, because a machine's good and bad minutes are longer than the difference that is looked for. */
const PAIRS = 6;
const WARM_UP_MS = 1_500;
const MEASURE_MS = 5_000;

/** A change may cost a little of the speed; more than that needs a reason. */
const TARGETS: readonly Target[] = [
  {
    name: 'new charges / earlier',
    of: 'hapax-new',
    to: 'earlier-new',
    atLeast: 0.9,
    promised: true,
  },
  { name: 'replays / earlier', of: 'hapax-replay', to: 'earlier-replay', atLeast: 0.9, promised: true },
];

interface Contestant {
  server: Server;
  books: Books;
  subjects: Readonly<Record<LoadKind, Subject>>;
}

/**
 * This build against another checkout's, built by `npm run build` there: each on a database of its own in the same
 * server, taking turns, the one that goes first changing from pair to pair.
 *
 * @param checkout the other's folder
 * @returns how many targets were missed
 * @throws when there is no build in `checkout`
 */
export async function benchAgainst(database: BenchDatabase, checkout: string): Promise<number> {
  const main = resolve(checkout, 'dist/src/main.js');
  await access(main);
  const contestants = [
    await start(database, 'earlier', { new: 'earlier-new', replay: 'earlier-replay' }, main),
    await start(database, 'present', { new: 'hapax-new', replay: 'hapax-replay' }),
  ];
  const measurements: Measurement[] = [];
  try {
    for (let pair = 1; pair <= PAIRS; pair += 1) {
      console.log(`\nPair ${pair} of ${PAIRS}`);
      for (const kind of ['new', 'replay'] as const) {
        for (const contestant of contestants) measurements.push(await measure(database, contestant, kind));
      }
      contestants.reverse();
    }
    for (const { books } of contestants) await books.check();
  } finally {
    for (const { server } of contestants) await server.stop();
  }
  const { text, missed } = ratios(measurements, TARGETS);
  console.log(`\nMedians of ${PAIRS} pairs:\n\n${table(measurements)}\n\n${text}`);
  return missed;
}

async function start(
  database: BenchDatabase,
  name: string,
  subjects: Readonly<Record<LoadKind, Subject>>,
  main?: string,
): Promise<Contestant> {
  const books = new Books(database, await database.create(name));
  const dataDir = await database.folder(name);
  const server = await startService({
    databaseUrl: books.url,
    dataDir,
    ...(main === undefined ? {} : { main }),
  });
  return { server, books, subjects };
}

async function measure(
  database: BenchDatabase,
  { server, books, subjects }: Contestant,
  kind: LoadKind,
): Promise<Measurement> {
  await database.checkpoint();
  const result = await runLoad({
    port: server.port,
    connections: TARGET_CONNECTIONS,
    warmUpMs: WARM_UP_MS,
    measureMs: MEASURE_MS,
    kind,
    saysReplayed: true,
  });
  books.charges += result.charges;
  const measurement = { ...result, subject: subjects[kind], connections: TARGET_CONNECTIONS };
  console.log(`${SUBJECT_NAMES[measurement.subject]}: ${result.perSecond.toFixed(0)}/s`);
  return measurement;
}
