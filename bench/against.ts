import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Books } from './books.js';
import type { LoadKind } from './load.js';
import type { BenchDatabase } from './machine.js';
import type { Plan } from './plan.js';
import { loadServer, startService, type Server } from './processes.js';
import {
  conclude,
  SUBJECT_NAMES,
  TARGET_CONNECTIONS,
  type Measurement,
  type Subject,
  type Target,
} from './report.js';

/** A change may make the service a little slower; more than that needs a reason. */
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
 * This build against another checkout's, which must have been built there by `npm run build`. Each has a database of its
 * own in the same server. They take turns, and the one that goes first changes from pair to pair.
 *
 * @param checkout the other checkout's folder
 * @returns how many targets were missed; 0 where the plan judges none
 * @throws when there is no build in `checkout`
 */
export async function benchAgainst(database: BenchDatabase, plan: Plan, checkout: string): Promise<number> {
  const main = resolve(checkout, 'dist/src/main.js');
  await access(main);
  const contestants = [
    await start(database, 'earlier', { new: 'earlier-new', replay: 'earlier-replay' }, main),
    await start(database, 'present', { new: 'hapax-new', replay: 'hapax-replay' }),
  ];
  const measurements: Measurement[] = [];
  try {
    for (let pair = 1; pair <= plan.pairs; pair += 1) {
      console.log(`\nPair ${pair} of ${plan.pairs}`);
      for (const kind of ['new', 'replay'] as const) {
        for (const contestant of contestants)
          measurements.push(await measure(database, plan, contestant, kind));
      }
      contestants.reverse();
    }
    for (const { books } of contestants) await books.check();
  } finally {
    for (const { server } of contestants) await server.stop();
  }
  return conclude(plan, `${plan.pairs} pair(s)`, measurements, TARGETS);
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
  { warmUpMs, measureMs, replayedKeys }: Plan,
  { server, books, subjects }: Contestant,
  kind: LoadKind,
): Promise<Measurement> {
  await database.checkpoint();
  const result = await loadServer(server, {
    connections: TARGET_CONNECTIONS,
    warmUpMs,
    measureMs,
    replayedKeys,
    kind,
  });
  books.charges += result.charges;
  const measurement = { ...result, subject: subjects[kind], connections: TARGET_CONNECTIONS };
  console.log(
    `${SUBJECT_NAMES[measurement.subject]}: ${result.perSecond.toFixed(0)}/s, ${result.nodeUs.toFixed(0)} µs of Node`,
  );
  return measurement;
}
