import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { charge, newKey, SLOW } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import {
  createTemporaryFolder,
  createTestDatabase,
  type TemporaryFolder,
  type TestDatabase,
} from '../support/postgres.js';
import { ServiceProcess } from '../support/service-process.js';

const CALLS = 200;
/** Far fewer than calls: if a call held a connection, the others would starve at once. */
const POOL_SIZE = 3;
const SAMPLE_EVERY_MS = 20;
/**
 * A call that held anything would hold it for the 3 s that the gateway takes. A pipelined transaction may look idle for
 * the moment between two packets, but is gone long before this.
 */
const HELD_FOR = '500 milliseconds';

interface Sample {
  idle_in_transaction: number;
  transactions: number;
  /** Idle connections that block others. */
  idle_with_locks: number;
}

describe('while the gateway is slow, the service', () => {
  let database: TestDatabase;
  let folder: TemporaryFolder;
  let service: ServiceProcess;
  let observer: Client;

  beforeAll(async () => {
    [database, folder] = await Promise.all([createTestDatabase(), createTemporaryFolder()]);
    observer = new Client({ connectionString: database.url });
    await observer.connect();
    service = await ServiceProcess.start({
      databaseUrl: database.url,
      dataDir: folder.path,
      env: { DATABASE_POOL_SIZE: String(POOL_SIZE) },
    });
  });
  afterAll(async () => {
    await service.stop();
    await observer.end();
    await database.drop();
    await folder.remove();
  });

  async function sample(): Promise<Sample> {
    const { rows } = await observer.query<Sample>(
      `SELECT count(*) FILTER (WHERE state LIKE 'idle in transaction%')::int AS idle_in_transaction,
              count(*) FILTER (WHERE xact_start < clock_timestamp() - $1::interval)::int AS transactions,
              count(*) FILTER (WHERE state LIKE 'idle%' AND EXISTS (
                SELECT FROM pg_locks WHERE pg_locks.pid = activity.pid))::int AS idle_with_locks
       FROM pg_stat_activity AS activity
       WHERE datname = current_database() AND pid <> pg_backend_pid()
         AND state_change < clock_timestamp() - $1::interval`,
      [HELD_FOR],
    );
    return rows[0]!;
  }

  async function inFlight(): Promise<number> {
    const metrics = await (await fetch(`${service.baseUrl}/metrics`)).text();
    return Number(/^hapax_gateway_in_flight\{gateway="sandbox"\} (\d+)$/m.exec(metrics)?.[1]);
  }

  it('holds no transaction, no lock and no connection, and serves others', async () => {
    const answered = new AbortController();
    const charges = Promise.all(
      Array.from({ length: CALLS }, () => charge(service, newKey(), { body: SLOW })),
    ).finally(() => answered.abort());
    const samples: Sample[] = [];
    const sampling = (async () => {
      while (!answered.signal.aborted) {
        samples.push(await sample());
        await sleep(SAMPLE_EVERY_MS);
      }
    })();

    await eventually('all calls are at the gateway', async () => (await inFlight()) === CALLS);
    expect((await charge(service, newKey())).status).toBe(201);
    // The fast one was answered before all of the slow ones.
    expect(await inFlight()).toBe(CALLS);

    expect((await charges).map(({ status }) => status)).toEqual(Array.from({ length: CALLS }, () => 201));
    await sampling;
    expect(samples.length).toBeGreaterThan(50);
    const held = samples.filter((each) => Object.values(each).some((count: number) => count > 0));
    expect(held).toEqual([]);
  });

  it('control: a held transaction and lock are noticed', async () => {
    const holder = new Client({ connectionString: database.url });
    await holder.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM payments LIMIT 1');
    await sleep(600);
    expect(await sample()).toEqual({ idle_in_transaction: 1, transactions: 1, idle_with_locks: 1 });
    await holder.query('ROLLBACK');
    await holder.end();
  });
});
