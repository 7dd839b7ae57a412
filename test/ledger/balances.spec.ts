import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { PipelinedTransactions } from '../../src/database/pipelined-transactions.js';
import { SnapshotWorker } from '../../src/ledger/snapshot.worker.js';
import { post as postTo } from '../support/api.js';
import { AMOUNT, chargeBody } from '../support/client.js';
import { expectVerified } from '../support/evidence.js';
import { AT_ONCE, book, snapshotWorker, untilBooksAreClosed } from '../support/ledger.js';
import { TestApp } from '../support/test-app.js';

interface Balance {
  account: string;
  currency: string;
  balance: number;
}

describe('GET /v1/balances', () => {
  let service: TestApp;

  let merchantId: string;
  let apiKey: string;

  beforeAll(async () => {
    service = await TestApp.start();
  });
  beforeEach(async () => {
    ({ merchantId, apiKey } = await service.addMerchant());
  });
  afterAll(() => service.stop());

  const charge = (body: object = {}) => service.post(chargeBody({ ...body }), { apiKey });

  async function balances(key = apiKey): Promise<Balance[]> {
    const reply = await service.get('/v1/balances', key);
    expect(reply.status).toBe(200);
    return (reply.body as { data: Balance[] }).data;
  }

  const pair = (currency: string, amount: number): Balance[] => [
    { account: 'gateway_receivable', currency, balance: amount },
    { account: 'merchant_payable', currency, balance: amount === 0 ? 0 : -amount },
  ];

  it('shows a state that existed, at every moment, while charges commit and snapshots are taken', async () => {
    const charges = 150;
    let started = 0;
    let answered = 0;
    let reads = 0;
    const client = async (): Promise<void> => {
      while (started < charges) {
        started += 1;
        expect((await charge()).status).toBe(201);
        answered += 1;
      }
    };
    const workers = [service.app.get(SnapshotWorker), snapshotWorker(service.app.get(PipelinedTransactions))];
    const untilAllAreAnswered = async (step: () => Promise<unknown>): Promise<void> => {
      for (;;) {
        if (answered === charges) return;
        await step();
      }
    };
    const reader = async (): Promise<void> => {
      let last = 0;
      await untilAllAreAnswered(async () => {
        const atLeast = answered * AMOUNT;
        const [receivable = { balance: 0 }, payable = { balance: 0 }] = await balances();
        reads += 1;
        expect(payable.balance + receivable.balance).toBe(0);
        expect(receivable.balance % AMOUNT).toBe(0);
        expect(receivable.balance).toBeGreaterThanOrEqual(Math.max(atLeast, last));
        expect(receivable.balance).toBeLessThanOrEqual(started * AMOUNT);
        last = receivable.balance;
      });
    };
    await Promise.all([
      ...Array.from({ length: 12 }, client),
      ...workers.map((worker) => untilAllAreAnswered(() => worker.runOnce(AT_ONCE))),
      reader(),
      reader(),
    ]);
    expect(reads).toBeGreaterThan(10);
    expect(await balances()).toEqual(pair('EUR', charges * AMOUNT));
    await untilBooksAreClosed(service.app.get(PipelinedTransactions));
    await service.app.get(SnapshotWorker).runOnce(AT_ONCE);
    expect(await balances()).toEqual(pair('EUR', charges * AMOUNT));
    const taken = await service.evidence.query('SELECT FROM ledger_snapshots WHERE merchant_id = $1', [
      merchantId,
    ]);
    expect(taken.length).toBeGreaterThanOrEqual(2);
    await expectVerified(service.evidence);
  });

  it('shows captures less refunds, per currency, and only the merchant’s own', async () => {
    const { apiKey: strangerKey } = await service.addMerchant();
    expect(await balances()).toEqual([]);
    const manual = await charge({ capture_method: 'manual', currency: 'USD' });
    await charge({ payment_method: 'pm_card_declined' });
    expect(await balances()).toEqual([]);

    const payment = await charge();
    const refunds = `/v1/payments/${payment.body.transaction_id}/refunds`;
    await post(refunds, { amount: 500 });
    await post(`/v1/payments/${manual.body.transaction_id}/capture`, { amount: 10 });
    expect(await balances()).toEqual([...pair('EUR', AMOUNT - 500), ...pair('USD', 10)]);

    await post(refunds, {});
    expect(await balances()).toEqual([...pair('EUR', 0), ...pair('USD', 10)]);
    expect(await balances(strangerKey)).toEqual([]);
    await service.app.get(SnapshotWorker).runOnce(AT_ONCE);
    expect(await balances()).toEqual([...pair('EUR', 0), ...pair('USD', 10)]);
    expect(await balances(strangerKey)).toEqual([]);
    await expectVerified(service.evidence);
  });

  it('is exact beyond the limits of a double and of a bigint', async () => {
    const large = 9_223_372_036_854_775_807n;
    for (let n = 0; n < 3; n += 1) await book(service.evidence, merchantId, large);
    await book(service.evidence, merchantId, 1);
    const expected = String(3n * large + 1n);
    const digits = async (): Promise<string[]> => {
      const { text } = await service.get('/v1/balances', apiKey);
      return [...text.matchAll(/"balance":(-?\d+)[,}]/g)].map(([, number]) => number!);
    };
    expect(await digits()).toEqual([expected, `-${expected}`]);
    await service.app.get(SnapshotWorker).runOnce(AT_ONCE);
    expect(await digits()).toEqual([expected, `-${expected}`]);
  });

  it('never makes a charge wait while a snapshot is being written', async () => {
    await book(service.evidence, merchantId);
    const writing = service.app.get(DataSource).createQueryRunner();
    await writing.startTransaction();
    try {
      // What a worker locks while it writes: the one row, and its snapshot.
      await writing.query('UPDATE ledger_closing SET closed_below = closed_below');
      await writing.query(
        `
        INSERT INTO ledger_snapshots SELECT merchant_id, 1, account, currency, 0, 0, now() FROM ledger_entries WHERE merchant_id = $1`,
        [merchantId],
      );
      const charged = charge().then(({ status }) => status);
      expect(await Promise.race([charged, sleep(5_000, 'waits', { ref: false })])).toBe(201);
      expect((await balances())[0]?.balance).toBe(AMOUNT + 100);
    } finally {
      await writing.rollbackTransaction();
      await writing.release();
    }
  });

  it('a charge refused by another server’s closed books is settled once they are open again', async () => {
    await service.evidence.query('UPDATE ledger_closing SET closed_below = closed_below + 1000000');
    const charged = charge().then(({ status }) => status);
    expect(await Promise.race([charged, sleep(500, 'waits')])).toBe('waits');
    await service.app.get(SnapshotWorker).runOnce();
    expect(await charged).toBe(201);
    expect(await balances()).toEqual(pair('EUR', AMOUNT));
  });

  it.each(['currency=EUR', 'limit=1', 'account=merchant_payable'])(
    'takes no parameters: %s is a 400',
    async (query) => {
      const reply = await service.get(`/v1/balances?${query}`);
      expect(reply.status).toBe(400);
      expect(reply.body).toMatchObject({
        code: 'validation_failed',
        errors: [{ field: query.split('=')[0] }],
      });
    },
  );

  async function post(path: string, body: object): Promise<void> {
    const reply = await postTo({ baseUrl: await service.app.getUrl() }, path, { body, apiKey });
    expect([200, 201]).toContain(reply.status);
  }
});
