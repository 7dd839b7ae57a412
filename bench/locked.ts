import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { API_KEY, CHARGE_BODY, CHARGE_PATH } from './charge-request.js';
import { Books } from './books.js';
import { runLoad, type LoadResult } from './load.js';
import type { BenchDatabase } from './machine.js';
import { HOST, startService, type Server } from './processes.js';
import { markdown, TARGET_CONNECTIONS } from './report.js';

const LOCKED_ROWS = 5;
const P99_BELOW_MS = 500;
/**
 * The sandbox answers `pm_gateway_slow` after three seconds. Then the settlements meet the locked rows, within the
 * measured time, which ends before they give up.
 */
const LOAD = { warmUpMs: 1_000, measureMs: 5_500, connections: TARGET_CONNECTIONS, replayedKeys: 0 };
const SLOW_BODY = JSON.stringify({ ...JSON.parse(CHARGE_BODY), payment_method: 'pm_gateway_slow' });
const POLL_MS = 10;
const ASK_AGAIN_MS = 500;
/** The default lease, the longest that the load may be held up, and some more. */
const FINAL_WITHIN_MS = 120_000;

/** What is locked, if anything: the rows of five charges whose outcome is about to be written. */
const CASES = [
  { name: 'none', table: null },
  { name: 'five claims', table: 'idempotency_keys' },
  { name: 'five payments', table: 'payments' },
] as const;

/**
 * New charges at a steady number of connections while somebody else holds locks on five rows that other charges need.
 * @param checkout the folder of another checkout whose build to measure instead of this one
 * @returns how many targets were missed
 */
export async function benchLocked(database: BenchDatabase, checkout: string | undefined): Promise<number> {
  const main = checkout === undefined ? undefined : resolve(checkout, 'dist/src/main.js');
  if (main !== undefined) await access(main);
  const books = new Books(database, await database.create('locked'));
  const dataDir = await database.folder('locked');
  const server = await startService({ databaseUrl: books.url, dataDir, ...(main !== undefined && { main }) });
  const rows = [['locked rows', 'per second', 'p50 ms', 'p99 ms', 'slowest ms', 'target', 'verdict']];
  let missed = 0;
  try {
    for (const { name, table } of CASES) {
      await database.checkpoint();
      const { perSecond, p50Ms, p99Ms, slowestMs } = await measure(server, books, table);
      const isMissed = table !== null && p99Ms >= P99_BELOW_MS;
      if (isMissed) missed += 1;
      const figures = [perSecond.toFixed(0), ...[p50Ms, p99Ms, slowestMs].map((ms) => ms.toFixed(1))];
      rows.push([
        name,
        ...figures,
        table === null ? '–' : `p99 < ${P99_BELOW_MS}`,
        table === null ? '–' : isMissed ? 'MISS' : 'PASS',
      ]);
      console.log(`${name}: ${figures.join(', ')}`);
    }
    await books.check();
  } finally {
    await server.stop();
  }
  console.log(`\nNew charges at ${TARGET_CONNECTIONS} connections:\n\n${markdown(rows)}`);
  return missed;
}

async function measure(server: Server, books: Books, table: string | null): Promise<LoadResult> {
  const keys = Array.from({ length: LOCKED_ROWS }, (_, index) => `locked-${String(table)}-${index}`);
  const stuck = Promise.all(keys.map((key) => chargeSlowly(server, key)));
  const release = await lockRows(books.url, table, keys);
  try {
    const result = await runLoad({ ...LOAD, port: server.port, kind: 'new', saysReplayed: true });
    books.charges += result.charges;
    return result;
  } finally {
    await release();
    await stuck;
    books.charges += LOCKED_ROWS;
  }
}

/** Locks the charges' rows as soon as all of them are there. */
async function lockRows(
  url: string,
  table: string | null,
  keys: readonly string[],
): Promise<() => Promise<void>> {
  if (table === null) return () => Promise.resolve();
  const client = new Client({ connectionString: url });
  await client.connect();
  const release = (): Promise<void> => client.end();
  const giveUpAt = Date.now() + LOAD.warmUpMs;
  for (;;) {
    await client.query('BEGIN');
    const { rowCount } = await client.query(
      `SELECT FROM ${table} WHERE idempotency_key = ANY($1) FOR UPDATE`,
      [keys],
    );
    if (rowCount === keys.length) return release;
    await client.query('ROLLBACK');
    if (Date.now() > giveUpAt)
      throw new Error(`there are ${rowCount} rows to lock instead of ${keys.length}`);
    await sleep(POLL_MS);
  }
}

/** As a client does: again and again until the answer is final, which may take until the claim's lease ends. */
async function chargeSlowly({ port }: Server, key: string): Promise<void> {
  const giveUpAt = Date.now() + FINAL_WITHIN_MS;
  for (;;) {
    const response = await fetch(`http://${HOST}:${port}${CHARGE_PATH}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': key,
      },
      body: SLOW_BODY,
    });
    const body = await response.text();
    if (response.status === 201) return;
    if (Date.now() > giveUpAt) throw new Error(`no final answer to a charge whose row was locked: ${body}`);
    await sleep(ASK_AGAIN_MS);
  }
}
