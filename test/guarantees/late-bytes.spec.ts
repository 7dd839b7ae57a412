import { setTimeout as sleep } from 'node:timers/promises';
import { charge, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { Evidence, expectChargedOnce, expectVerified } from '../support/evidence.js';
import { HoldingProxy, type HeldBytes } from '../support/holding-proxy.js';
import {
  createTemporaryFolder,
  createTestDatabase,
  type TemporaryFolder,
  type TestDatabase,
} from '../support/postgres.js';
import { ServiceProcess } from '../support/service-process.js';

const LEASE_MS = 2_000;
/** The gateway refuses the first call before any effect, and would approve a second one. */
const REFUSED_ONCE = chargeBody({ payment_method: 'pm_gateway_flaky' });
const REFUSED = chargeBody({ payment_method: 'pm_gateway_unavailable' });
/** Recovery would have taken over a claim that came to life, and called the gateway. */
const LONG_ENOUGH_MS = LEASE_MS + 2_500;

describe('a reservation that reaches the database after its connection was lost and its request was answered', () => {
  let database: TestDatabase;
  let folder: TemporaryFolder;
  let proxy: HoldingProxy;
  let service: ServiceProcess;
  let evidence: Evidence;

  beforeAll(async () => {
    [database, folder] = await Promise.all([createTestDatabase(), createTemporaryFolder()]);
    evidence = new Evidence(database.url, folder.path);
    proxy = await HoldingProxy.start(database.url);
    service = await ServiceProcess.start({
      databaseUrl: proxy.through(database.url),
      dataDir: folder.path,
      env: {
        IDEMPOTENCY_LEASE: `${LEASE_MS}ms`,
        IDEMPOTENCY_RETENTION: '1s',
        GATEWAY_TIMEOUT: '1s',
        GATEWAY_MAX_TRIES: '1',
      },
    });
  });
  afterEach(() => expectVerified(evidence));
  afterAll(async () => {
    await service.kill();
    await proxy.close();
    await evidence.close();
    await database.drop();
    await folder.remove();
  });

  async function refuse(key: string, body = REFUSED): Promise<void> {
    const reply = await charge(service, key, { body });
    expect(reply).toMatchObject({ status: 503, json: { code: 'service_unavailable', effect: 'none' } });
  }

  const claimOf = (key: string) =>
    evidence.query('SELECT * FROM idempotency_keys WHERE idempotency_key = $1', [key]);

  /** Delivers the bytes and gives recovery time to act on them. @returns what is there then, with the claim before. */
  async function deliver(held: HeldBytes, key: string) {
    if (!held.bytes.includes('COMMIT')) throw new Error('the bytes are only a part of a transaction');
    const before = await claimOf(key);
    await held.deliver();
    await sleep(LONG_ENOUGH_MS);
    const [payments, effects] = [await evidence.payments(key), await evidence.effects(key)];
    return { before, after: await claimOf(key), payments, effects };
  }

  /** The released claim is as it was, and there is nothing else. */
  const untouched = ({ before }: Awaited<ReturnType<typeof deliver>>) => ({
    before: [expect.objectContaining({ status: 'released' })],
    after: before,
    payments: [],
    effects: [],
  });

  it('does not charge: the client had heard that nothing happened', async () => {
    const key = newKey();
    const holding = proxy.holdNext(key);
    await refuse(key, REFUSED_ONCE);
    const found = await deliver(await holding, key);
    expect(found).toEqual(untouched(found));
  });

  it('does not act when it belongs to a later request that was refused as well', async () => {
    const key = newKey();
    await refuse(key);
    const holding = proxy.holdNext(key, 'claims.retake');
    // A second connection takes the claim as this request has read it, and the gateway refuses again.
    await refuse(key);
    const found = await deliver(await holding, key);
    expect(found).toEqual(untouched(found));
  });

  it('does not charge again after the request was carried out on another connection', async () => {
    const key = newKey();
    const holding = proxy.holdNext(key);
    expect((await charge(service, key)).status).toBe(201);
    await (await holding).deliver();
    await sleep(LONG_ENOUGH_MS);
    await expectChargedOnce(evidence, key);
  });

  it('does not charge again even after the first answer was reaped', async () => {
    const key = newKey();
    const holding = proxy.holdNext(key);
    expect((await charge(service, key)).status).toBe(201);
    const held = await holding;
    await eventually('the answer is reaped', async () => (await evidence.claim(key)) === undefined);
    await held.deliver();
    await sleep(LONG_ENOUGH_MS);
    await expectChargedOnce(evidence, key);
  });
});
