import { DataSource } from 'typeorm';
import { PAYMENT_STATUSES, type PaymentStatus } from '../../src/domain/payment.js';
import { PaymentListStore } from '../../src/payments/payment-list.store.js';
import { chargeBody } from '../support/client.js';
import { pagesRead } from '../support/pages-read.js';
import { TestApp } from '../support/test-app.js';

const MERCHANT = '00000000-0000-7000-8000-000000000001';
const USER = '0b6b2f0e-58c8-4d64-9c0f-9d1b6a3f1c55';
const CURRENCIES = ['EUR', 'USD', 'JPY'];
const LIMIT = 21;
/** A page of rows, an index for each of them, and some more. All payments below take thousands. */
const PAGES_AT_MOST = 200;
const MANY = 40_000;
/** Between the payments that the API has made and the many. */
const IN_THE_MIDDLE = new Date('2026-06-01T00:00:00Z');

type Filter = Parameters<PaymentListStore['list']>[1];

interface Made {
  transaction_id: string;
  status: PaymentStatus;
  currency: string;
  user_id: string | null;
}

describe('a list of payments', () => {
  let service: TestApp;
  let dataSource: DataSource;

  beforeAll(async () => {
    service = await TestApp.start({ GATEWAY_TIMEOUT: '300ms', IDEMPOTENCY_LEASE: '60s' });
    dataSource = service.app.get(DataSource);
  });
  afterAll(() => service.stop());

  async function pay(body: Record<string, unknown>): Promise<string> {
    return String((await service.post(chargeBody(body))).body.transaction_id);
  }

  async function cancelOrCapture(what: 'cancel' | 'capture', id: string): Promise<void> {
    const { statusCode } = await service.app.inject({
      method: 'POST',
      url: `/v1/payments/${id}/${what}`,
      headers: { authorization: 'Bearer sk_sandbox_hapax', 'idempotency-key': `${what}-${id}` },
      payload: {},
    });
    expect(statusCode).toBe(200);
  }

  async function read(query: Record<string, string> = {}): Promise<Made[]> {
    const { body, status } = await service.get('/v1/payments').query({ limit: '100', ...query });
    expect(status).toBe(200);
    return body.data as Made[];
  }

  it('shows exactly what matches, for each status with each currency and user', async () => {
    for (const common of [{}, { currency: 'USD' }, { user_id: USER }]) {
      await pay(common);
      await pay({ ...common, payment_method: 'pm_card_declined' });
      await pay({ ...common, payment_method: 'pm_gateway_timeout_after_charge' });
      await pay({ ...common, capture_method: 'manual' });
      for (const what of ['cancel', 'capture'] as const)
        await cancelOrCapture(what, await pay({ ...common, capture_method: 'manual' }));
    }
    const all = await read();
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set(PAYMENT_STATUSES));
    for (const status of [undefined, ...PAYMENT_STATUSES]) {
      for (const currency of [undefined, ...CURRENCIES]) {
        for (const user of [undefined, USER]) {
          const expected = all.filter(
            (payment) =>
              (status === undefined || payment.status === status) &&
              (currency === undefined || payment.currency === currency) &&
              (user === undefined || payment.user_id === user),
          );
          const query = {
            ...(status && { status }),
            ...(currency && { currency }),
            ...(user && { user_id: user }),
          };
          expect({ query, data: await read(query) }).toEqual({ query, data: expected });
        }
      }
    }
    for (const status of PAYMENT_STATUSES) {
      const [newest, ...rest] = await read({ status });
      const page = await service.get('/v1/payments').query({ status, limit: '1' });
      expect(page.body.data).toEqual([newest]);
      expect(await read({ status, cursor: page.body.next_cursor as string })).toEqual(rest);
    }
  });

  describe.each(['before', 'after'])('of very many, %s the planner has statistics', (when) => {
    beforeAll(async () => {
      if (when === 'after') {
        await dataSource.query('ANALYZE payments, events, idempotency_keys');
        return;
      }
      await dataSource.query('ALTER TABLE payments SET (autovacuum_enabled = off)');
      await dataSource.query(
        `INSERT INTO payments (merchant_id, transaction_id, idempotency_key, claim_id, fingerprint, amount,
           amount_captured, currency, status, payment_method, capture_method, created_at, updated_at, gateway_reference,
           closed_by_key, closed_by_fingerprint)
         SELECT $1, (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7000'
             || '8000' || lpad(n::text, 12, '0'))::uuid, 'many-' || n, gen_random_uuid(), 'f', 1999, 1999, 'EUR',
           'completed', 'pm_card_visa', CASE n % 2 WHEN 0 THEN 'manual' ELSE 'automatic' END, made, made, 'sbx_' || n,
           CASE n % 2 WHEN 0 THEN 'capture-' || n END, CASE n % 2 WHEN 0 THEN 'f' END
         FROM generate_series(1, ${MANY}) n, LATERAL (SELECT $2::timestamptz + n * interval '1 minute' AS made) m`,
        [MERCHANT, IN_THE_MIDDLE],
      );
    });

    it.each<[string, Filter]>([
      ...PAYMENT_STATUSES.map((status) => [status, { status }] as [string, Filter]),
      ...PAYMENT_STATUSES.map(
        (status) => [`${status} in yen`, { status, currency: 'JPY' }] as [string, Filter],
      ),
      ['all of them', {}],
      ['those in euros', { currency: 'EUR' }],
      ['those in yen', { currency: 'JPY' }],
      ['those before all', { createdLt: new Date('2020-01-01') }],
      ['those after all', { createdGte: new Date('2100-01-01') }],
      ['the first of them', { createdLt: new Date(IN_THE_MIDDLE.getTime() + 600_000) }],
      ['one user’s', { userId: USER }],
      ['one user’s that failed', { userId: USER, status: 'failed' }],
    ])('reads few pages to find %s', async (_what, filter) => {
      expect(await pagesOf(filter)).toBeLessThan(PAGES_AT_MOST);
    });

    it('control: without what the index says, it reads them all to find that none of them is authorized', async () => {
      const without = (text: string) => text.replace('p.closed_by_key IS NULL', 'true');
      const createdGte = new Date(IN_THE_MIDDLE.getTime() + 60_000);
      expect(await pagesOf({ status: 'authorized', createdGte }, without)).toBeGreaterThan(1_000);
      expect(await pagesOf({ status: 'authorized', createdGte })).toBeLessThan(PAGES_AT_MOST);
    });
  });

  function pagesOf(filter: Filter, change?: (text: string) => string): Promise<number> {
    const list = () => new PaymentListStore(dataSource).list(MERCHANT, filter, LIMIT);
    return pagesRead(dataSource, list, change);
  }
});
