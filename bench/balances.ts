import { DataSource } from 'typeorm';
import { SANDBOX_MERCHANT_ID } from '../src/auth/sandbox-seed.js';
import { dataSourceOptions } from '../src/database/data-source.js';
import { ENTITIES } from '../src/entities.js';
import { runMigrations } from '../src/database/migrations.js';
import { PipelinedTransactions } from '../src/database/pipelined-transactions.js';
import { BalancesStore, type Balance } from '../src/ledger/balances.store.js';
import { ClosingStore } from '../src/ledger/closing.store.js';
import { SnapshotsStore } from '../src/ledger/snapshots.store.js';
import { SnapshotWorker } from '../src/ledger/snapshot.worker.js';
import { Clock } from '../src/time/clock.js';
import type { BenchDatabase } from './machine.js';
import { markdown, median } from './report.js';

export const DEFAULT_ENTRIES = 1_000_000;
export const MAX_ENTRIES = 100_000_000;

/** What is written between two snapshots at full speed: ten seconds of 2 000 charges a second. */
const ENTRIES_OF_AN_INTERVAL = 40_000;
const ENTRIES_A_FILL = 1_000_000;
/** A group of 64 charges writes this many in one transaction. */
const ENTRIES_A_TRANSACTION = 128;
const SLOW_READS = 3;
const FAST_READS = 50;
/** Below this speed-up, snapshots are not worth their upkeep. */
const SPEED_UP_AT_LEAST = 10;

/**
 * Measures the worst case for a balance: all entries belong to one merchant and one currency. SQL makes the rows with
 * the triggers off, in the order and at the places that charges would have given them.
 * @returns how many targets were missed
 */
export async function benchBalances(database: BenchDatabase, entries: number): Promise<number> {
  const url = await database.create('balances');
  await runMigrations(url);
  const dataSource = await openWithoutLimits(url);
  try {
    const transactions = new PipelinedTransactions(dataSource);
    const balances = new BalancesStore(dataSource);
    const worker = new SnapshotWorker(
      transactions,
      new ClosingStore(transactions),
      new SnapshotsStore(transactions),
      new Clock(),
    );
    await fill(database, url, entries);
    const all = await timed(SLOW_READS, () => balances.read(SANDBOX_MERCHANT_ID));
    const [catchUpMs] = (await timed(1, () => worker.runOnce())).runsMs;
    await database.checkpoint();
    const none = await timed(FAST_READS, () => balances.read(SANDBOX_MERCHANT_ID));
    expectSame(all.result, none.result);
    await fill(database, url, ENTRIES_OF_AN_INTERVAL);
    const interval = await timed(FAST_READS, () => balances.read(SANDBOX_MERCHANT_ID));
    const [carryMs] = (await timed(1, () => worker.runOnce())).runsMs;
    expectSame(interval.result, (await timed(1, () => balances.read(SANDBOX_MERCHANT_ID))).result);

    const rows: [string, number, number[]][] = [
      ['no snapshot', entries, all.runsMs],
      ['a snapshot, and nothing since', 0, none.runsMs],
      ['a snapshot, and ten seconds of 2 000 charges/s since', ENTRIES_OF_AN_INTERVAL, interval.runsMs],
    ];
    const [slow = Number.NaN] = rows.map(([, , runs]) => median(runs));
    console.log(
      `\n${markdown([
        [`balances of ${entries} entries`, 'entries read', 'median ms', 'times as fast'],
        ...rows.map(([name, read, runs]) => [
          name,
          String(read),
          median(runs).toFixed(2),
          (slow / median(runs)).toFixed(1),
        ]),
      ])}\n`,
    );
    console.log(
      `All entries summed up for the first time in ${seconds(catchUpMs)}, those of ten seconds in ${seconds(carryMs)}.`,
    );
    const ratio = slow / median(none.runsMs);
    const met = ratio >= SPEED_UP_AT_LEAST;
    console.log(
      `With a snapshot / without: ${ratio.toFixed(1)} (target >= ${SPEED_UP_AT_LEAST}): ${met ? 'PASS' : 'MISS'}`,
    );
    return met ? 0 : 1;
  } finally {
    await dataSource.destroy();
  }
}

/** The service's own settings without the time limits: a balance without a snapshot may take longer than they allow. */
async function openWithoutLimits(url: string): Promise<DataSource> {
  const options = dataSourceOptions(url, ENTITIES, 1);
  const { extra } = options as { extra?: object };
  return new DataSource({
    ...options,
    extra: { ...extra, statement_timeout: 0, query_timeout: 0 },
  }).initialize();
}

async function fill(database: BenchDatabase, url: string, entries: number): Promise<void> {
  await database.query(
    url,
    `INSERT INTO merchants (merchant_id, name) VALUES ('${SANDBOX_MERCHANT_ID}', 'Bench') ON CONFLICT DO NOTHING`,
  );
  const startedMs = performance.now();
  for (let left = entries; left > 0; left -= ENTRIES_A_FILL) {
    await fillPart(database, url, Math.min(left, ENTRIES_A_FILL));
  }
  await database.query(url, 'VACUUM ANALYZE ledger_entries');
  await database.checkpoint();
  console.log(`${entries} entries written in ${seconds(performance.now() - startedMs)}`);
}

/**
 * Places continue from the last one, above the closed books. They stay below the number of the next transaction, as those of real past entries
 * do.
 */
async function fillPart(database: BenchDatabase, url: string, entries: number): Promise<void> {
  await database.query(
    url,
    `SET session_replication_role = 'replica';
     INSERT INTO ledger_entries
       (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at, log_position)
     SELECT '${SANDBOX_MERCHANT_ID}', id, posting, id, account, 'EUR', sign * (100 + n % 9900), clock_timestamp(),
       greatest(
         (SELECT max(log_position) FROM ledger_entries WHERE merchant_id = '${SANDBOX_MERCHANT_ID}'),
         (SELECT closed_below FROM ledger_closing)) + 1 + n * 2 / ${ENTRIES_A_TRANSACTION}
     FROM (
       SELECT n, (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
         || substr(md5(n::text), 1, 3) || 'a' || substr(md5(n::text || random()::text), 1, 15))::uuid AS id
       FROM generate_series(0, ${entries / 2 - 1}) n OFFSET 0
     ) made
     CROSS JOIN (VALUES (1::smallint, 'gateway_receivable', 1), (2::smallint, 'merchant_payable', -1))
       AS sides (posting, account, sign);
     UPDATE ledger_closing SET xid_base = greatest(xid_base, (
       SELECT max(log_position) FROM ledger_entries WHERE merchant_id = '${SANDBOX_MERCHANT_ID}'))`,
  );
}

async function timed<Result>(
  times: number,
  run: () => Promise<Result>,
): Promise<{ result: Result; runsMs: number[] }> {
  const runsMs: number[] = [];
  let result: Result | undefined;
  for (let n = 0; n < times; n += 1) {
    const startedMs = performance.now();
    result = await run();
    runsMs.push(performance.now() - startedMs);
  }
  return { result: result as Result, runsMs };
}

function expectSame(a: Balance[], b: Balance[]): void {
  const [one, other] = [a, b].map((balances) =>
    balances.map((each) => Object.values(each).join(' ')).join(', '),
  );
  if (one !== other || a.length !== 2) throw new Error(`balances differ: ${one} and ${other}`);
}

function seconds(ms: number | undefined): string {
  return `${((ms ?? Number.NaN) / 1_000).toFixed(2)} s`;
}
