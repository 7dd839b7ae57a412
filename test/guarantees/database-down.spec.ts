import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client } from 'pg';
import { startEmbeddedPostgres, type EmbeddedPostgresServer } from '../../src/embedded-postgres/server.js';
import { charge, chargeUntilFinal, newKey, SLOW } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { Evidence, expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { notification, sendNotification } from '../support/notifications.js';
import { createTemporaryFolder, type TemporaryFolder } from '../support/postgres.js';
import { ServiceProcess } from '../support/service-process.js';

/** No test here crashes the machine, so nothing has to reach the disk. */
const FAST = { fsync: 'off', full_page_writes: 'off' };

describe('a service whose PostgreSQL is stopped', () => {
  let folder: TemporaryFolder;
  let postgres: EmbeddedPostgresServer;
  let service: ServiceProcess;
  let evidence: Evidence;

  beforeAll(async () => {
    folder = await createTemporaryFolder();
    postgres = await startEmbeddedPostgres(join(folder.path, 'database'), { settings: FAST });
    evidence = new Evidence(postgres.url, folder.path);
  });
  // A failed test leaves a dead service or a stopped database. Start afresh, so that the next one does not fail with
  // it.
  beforeEach(async () => {
    if (await isDown()) await startAgain();
    if (!(service as ServiceProcess | undefined)?.alive) {
      service = await ServiceProcess.start({
        databaseUrl: postgres.url,
        dataDir: folder.path,
        env: { IDEMPOTENCY_LEASE: '6s' },
      });
    }
  });
  afterEach(async () => {
    if (!(await isDown())) await expectBooksToAgree(evidence);
  });
  afterAll(async () => {
    await service.kill();
    await evidence.close();
    await postgres.stop();
    await folder.remove();
  });

  async function startAgain(): Promise<void> {
    const port = Number(new URL(postgres.url).port);
    postgres = await startEmbeddedPostgres(join(folder.path, 'database'), { port, settings: FAST });
  }

  const isDown = () =>
    evidence.query('SELECT 1').then(
      () => false,
      () => true,
    );

  const atTheGateway = (key: string) =>
    eventually('the charge is at the gateway', async () => (await evidence.effects(key)).length > 0);

  it('answers 503, calls no gateway, uses up no key, and recovers by itself', async () => {
    const [key, ...others] = Array.from({ length: 6 }, () => newKey());
    const effects = evidence.allEffects().length;
    await postgres.stop();

    for (const reply of [
      await charge(service, key!),
      ...(await Promise.all(others.map((other) => charge(service, other)))),
    ]) {
      expect(reply.status).toBe(503);
      expect(reply.json).toMatchObject({ code: 'service_unavailable', effect: 'none', retry: 'same_key' });
      expect(reply.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    }
    expect(evidence.allEffects()).toHaveLength(effects);
    expect(service.alive).toBe(true);

    await startAgain();
    expect((await chargeUntilFinal(service, key!)).status).toBe(201);
    await expectChargedOnce(evidence, key!);
    expect(await evidence.claim(key!)).toMatchObject({ status: 'completed' });
    for (const other of others) expect(await evidence.claim(other)).toBeUndefined();
  });

  it('survives losing a connection while it writes a claim, and tells its client the truth', async () => {
    const key = newKey();
    const locker = new Client({ connectionString: postgres.url });
    locker.on('error', () => undefined);
    await locker.connect();
    await locker.query('BEGIN; LOCK TABLE idempotency_keys');
    const first = charge(service, key);
    await eventually('the claim waits for the lock', async () => {
      const waiting = await evidence.query(`SELECT FROM pg_locks WHERE NOT granted`);
      return waiting.length > 0;
    });
    await postgres.stop();

    const reply = await first;
    expect(reply.status).toBe(503);
    expect(reply.json['retry']).toBe('same_key');
    expect(service.alive).toBe(true);
    await startAgain();
    // A client that hears "no effect" must be able to rely on it.
    const mayHaveEffect = (await evidence.payments(key)).length > 0;
    expect(mayHaveEffect && reply.json['effect'] === 'none').toBe(false);
    expect((await chargeUntilFinal(service, key)).status).toBe(201);
    await expectChargedOnce(evidence, key);
  });

  it('answers the provider’s notification with 503, so that the provider sends it again, and then accepts it', async () => {
    const told = notification({ transaction_id: randomUUID() });
    await postgres.stop();
    const refused = await sendNotification(service.baseUrl, told);
    expect([refused.status, refused.code]).toEqual([503, 'service_unavailable']);
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    await startAgain();
    await eventually(
      'it is taken in',
      async () => (await sendNotification(service.baseUrl, told)).status === 204,
    );
    expect(
      await evidence.query('SELECT FROM gateway_notifications WHERE event_id = $1', [told.id]),
    ).toHaveLength(1);
  });

  it('survives losing its connections between two requests', async () => {
    expect((await charge(service, newKey())).status).toBe(201);
    await evidence.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hapax' AND pid <> pg_backend_pid()`,
    );
    const key = newKey();
    expect((await chargeUntilFinal(service, key)).status).toBe(201);
    expect(service.alive).toBe(true);
    await expectChargedOnce(evidence, key);
  });

  it('gets PostgreSQL back while a charge still waits to settle: its client gets the final answer', async () => {
    const key = newKey();
    const first = charge(service, key, { body: SLOW });
    await atTheGateway(key);
    await postgres.stop();
    await startAgain();
    const answer = await first;
    expect(answer.status).toBe(201);
    expect((await charge(service, key, { body: SLOW })).body).toBe(answer.body);
    await expectChargedOnce(evidence, key);
  });

  it('loses PostgreSQL for longer: the client of a charge at the gateway hears that the outcome is unknown, and later the outcome', async () => {
    const key = newKey();
    const first = charge(service, key, { body: SLOW });
    await atTheGateway(key);
    await postgres.stop();
    const reply = await first;
    expect(reply.status).toBe(503);
    expect(reply.json).toMatchObject({ code: 'outcome_unknown', effect: 'unknown', retry: 'same_key' });
    expect(reply.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);

    await startAgain();
    const answer = await chargeUntilFinal(service, key, { body: SLOW });
    expect(answer.status).toBe(201);
    await expectChargedOnce(evidence, key);
  });
});
