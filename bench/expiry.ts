import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SANDBOX_MERCHANT_ID } from '../src/auth/sandbox-seed.js';
import { Books } from './books.js';
import { GATE } from './expiry-gate.js';
import { runLoad, type LoadResult } from './load.js';
import type { BenchDatabase } from './machine.js';
import { startService } from './processes.js';
import { markdown, median, TARGET_CONNECTIONS } from './report.js';

const ALL_ANSWERS = 1_000_000;
const ROUNDS = 4;
const ANSWERS = ALL_ANSWERS / ROUNDS;
const WARM_UP_MS = 1_500;
const MEASURE_MS = 5_000;
const SERVICE = fileURLToPath(new URL('./expiring-service.process.js', import.meta.url));
const POLL_MS = 200;
/** For the answers that are left after a round's load. */
const DRAIN_LIMIT_MS = 300_000;

const THROUGHPUT_AT_LEAST = 0.9;
const P99_AT_MOST = 1.5;

interface Round {
  alone: LoadResult;
  beside: LoadResult;
  /** While charges ran beside it. */
  deletedPerSecond: number;
  /** From the moment when the answers were due until the last one was gone. */
  tookMs: number;
}

/**
 * New charges alone, and beside the expiry of a million stored answers, in turns.
 * @returns how many targets were missed
 */
export async function benchExpiry(database: BenchDatabase): Promise<number> {
  const bench = new ExpiryBench(database, await database.create('expiry'), await database.folder('expiry'));
  const rounds: Round[] = [];
  const server = await startService({ databaseUrl: bench.books.url, dataDir: bench.dataDir, main: SERVICE });
  try {
    await bench.load(server.port);
    for (let round = 1; round <= ROUNDS; round += 1) {
      const measured = await bench.round(server.port);
      console.log(`Round ${round}: ${describe(measured)}`);
      rounds.push(measured);
    }
    await bench.books.check();
  } finally {
    await server.stop();
  }
  return conclude(rounds);
}

class ExpiryBench {
  readonly books: Books;

  constructor(
    private readonly database: BenchDatabase,
    url: string,
    readonly dataDir: string,
  ) {
    this.books = new Books(database, url);
  }

  async round(port: number): Promise<Round> {
    const alone = await this.load(port);
    await this.insertExpiredAnswers();
    const startedMs = performance.now();
    await writeFile(join(this.dataDir, GATE), '');
    const beside = await this.load(port);
    const deleted = ANSWERS - (await this.countExpired());
    const deletedPerSecond = (deleted / (performance.now() - startedMs)) * 1_000;
    while ((await this.countExpired()) > 0) {
      if (performance.now() - startedMs > DRAIN_LIMIT_MS) throw new Error('expired answers are left');
      await sleep(POLL_MS);
    }
    await rm(join(this.dataDir, GATE));
    return { alone, beside, deletedPerSecond, tookMs: performance.now() - startedMs };
  }

  async load(port: number): Promise<LoadResult> {
    await this.database.checkpoint();
    const result = await runLoad({
      port,
      kind: 'new',
      connections: TARGET_CONNECTIONS,
      warmUpMs: WARM_UP_MS,
      measureMs: MEASURE_MS,
      replayedKeys: 0,
      saysReplayed: true,
    });
    this.books.charges += result.charges;
    return result;
  }

  /** Answers of yesterday, so a vacuum has been there since. Their bodies are as long as that of a charge. */
  private async insertExpiredAnswers(): Promise<void> {
    await this.database.query(
      this.books.url,
      `INSERT INTO idempotency_keys
         (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status, attempt,
           lease_expires_at, response_status, response_content_type, response_location, response_body, expires_at)
       SELECT '${SANDBOX_MERCHANT_ID}', 'expired-' || gen_random_uuid(), gen_random_uuid(), 'charge',
         'v1:' || repeat('f', 64), gen_random_uuid(), 'completed', 1, clock_timestamp(), 201, 'application/json',
         '/v1/payments/' || gen_random_uuid(), repeat('b', 600), clock_timestamp() - interval '1 second'
       FROM generate_series(1, ${ANSWERS})`,
    );
    await this.database.query(this.books.url, 'VACUUM ANALYZE idempotency_keys');
  }

  private async countExpired(): Promise<number> {
    const [row] = await this.database.query<{ n: number }>(
      this.books.url,
      'SELECT count(*)::int AS n FROM idempotency_keys WHERE expires_at < clock_timestamp()',
    );
    return row?.n ?? 0;
  }
}

function describeLoad({ perSecond, p99Ms }: LoadResult): string {
  return `${perSecond.toFixed(0)}/s, p99 ${p99Ms.toFixed(1)} ms`;
}

function describe({ alone, beside, deletedPerSecond, tookMs }: Round): string {
  const deleted = `${deletedPerSecond.toFixed(0)} deleted/s, all gone after ${(tookMs / 1_000).toFixed(1)} s`;
  return `alone ${describeLoad(alone)}; beside ${describeLoad(beside)}; ${deleted}`;
}

function conclude(rounds: readonly Round[]): number {
  const verdicts: [string, number[], string, (ratio: number) => boolean][] = [
    [
      'throughput, beside / alone',
      rounds.map(({ alone, beside }) => beside.perSecond / alone.perSecond),
      `>= ${THROUGHPUT_AT_LEAST}`,
      (ratio) => ratio >= THROUGHPUT_AT_LEAST,
    ],
    [
      'p99, beside / alone',
      rounds.map(({ alone, beside }) => beside.p99Ms / alone.p99Ms),
      `<= ${P99_AT_MOST}`,
      (ratio) => ratio <= P99_AT_MOST,
    ],
    [
      'answers deleted / charges made',
      rounds.map(({ beside, deletedPerSecond }) => deletedPerSecond / beside.perSecond),
      '>= 1',
      (ratio) => ratio >= 1,
    ],
  ];
  const rows = verdicts.map(([name, ratios, target, isMet]) => [
    name,
    median(ratios).toFixed(2),
    ratios.map((ratio) => ratio.toFixed(2)).join(' '),
    target,
    isMet(median(ratios)) ? 'PASS' : 'MISS',
  ]);
  console.log(`\n${markdown([['expiry', 'median', 'rounds', 'target', 'verdict'], ...rows])}`);
  return verdicts.filter(([, ratios, , isMet]) => !isMet(median(ratios))).length;
}
