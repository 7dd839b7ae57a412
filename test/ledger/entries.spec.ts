import { setTimeout as sleep } from 'node:timers/promises';
import { post } from '../support/api.js';
import { chargeBody } from '../support/client.js';
import { TestApp } from '../support/test-app.js';

interface Entry {
  ledger_entry_id: string;
  ledger_transaction_id: string;
  transaction_id: string;
  account: string;
  currency: string;
  amount: number;
  created_at: string;
}

interface Page {
  data: Entry[];
  next_cursor: string | null;
}

describe('GET /v1/ledger/entries', () => {
  let service: TestApp;
  let strangerKey: string;
  /** In the order in which they were made. */
  const payments: string[] = [];
  /** All of them, newest first, as one page. */
  let all: Entry[];

  beforeAll(async () => {
    service = await TestApp.start();
    ({ apiKey: strangerKey } = await service.addMerchant());
    for (const currency of ['EUR', 'USD', 'EUR', 'JPY', 'EUR']) {
      payments.push((await service.post(chargeBody({ currency }))).body.transaction_id);
      // Ids of one millisecond sort at random. That is allowed, but would leave no order to compare with.
      await sleep(2);
    }
    const baseUrl = await service.app.getUrl();
    await post({ baseUrl }, `/v1/payments/${payments[0]}/refunds`, { body: { amount: 500 } });
    await service.post(chargeBody(), { apiKey: strangerKey });
    all = (await list({ limit: 100 })).data;
  });
  afterAll(() => service.stop());

  async function list(query: Record<string, string | number> = {}, apiKey?: string): Promise<Page> {
    const reply = await service.get('/v1/ledger/entries', apiKey).query(query);
    expect(reply.status).toBe(200);
    return reply.body as Page;
  }

  it('shows both sides of each capture and refund, newest first, and only the merchant’s own', async () => {
    expect(all).toHaveLength(12);
    expect(all.slice(0, 2)).toEqual([
      {
        ledger_entry_id: `${all[0]!.ledger_transaction_id}.2`,
        ledger_transaction_id: all[0]!.ledger_transaction_id,
        transaction_id: payments[0],
        account: 'gateway_receivable',
        currency: 'EUR',
        amount: -500,
        created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      },
      {
        ...all[0],
        ledger_entry_id: `${all[0]!.ledger_transaction_id}.1`,
        account: 'merchant_payable',
        amount: 500,
      },
    ]);
    expect(all.map(({ transaction_id }) => transaction_id).slice(2)).toEqual(
      payments.toReversed().flatMap((id) => [id, id]),
    );
    expect(new Set(all.map(({ ledger_entry_id }) => ledger_entry_id)).size).toBe(12);
    expect((await list({}, strangerKey)).data).toHaveLength(2);
  });

  it.each([1, 3, 11, 12, 100])(
    'pages by the cursor without a gap or a repeat, %d at a time, even between the sides of a transfer',
    async (limit) => {
      const seen: Entry[] = [];
      let cursor: string | null = null;
      do {
        const page: Page = await list({ limit, ...(cursor !== null && { cursor }) });
        expect(page.data.length).toBeGreaterThan(0);
        seen.push(...page.data);
        cursor = page.next_cursor;
      } while (cursor !== null);
      expect(seen).toEqual(all);
    },
  );

  it.each<[string, () => Record<string, string>, (entry: Entry) => boolean]>([
    ['account', () => ({ account: 'merchant_payable' }), ({ account }) => account === 'merchant_payable'],
    ['currency', () => ({ currency: 'JPY' }), ({ currency }) => currency === 'JPY'],
    [
      'payment',
      () => ({ transaction_id: payments[0]! }),
      ({ transaction_id }) => transaction_id === payments[0],
    ],
    [
      'payment, whatever the case of the id',
      () => ({ transaction_id: payments[1]!.toUpperCase() }),
      ({ transaction_id }) => transaction_id === payments[1],
    ],
    [
      'several at once',
      () => ({ transaction_id: payments[0]!, account: 'gateway_receivable', currency: 'EUR' }),
      ({ transaction_id, account }) => transaction_id === payments[0] && account === 'gateway_receivable',
    ],
    ['nothing that matches', () => ({ transaction_id: crypto.randomUUID() }), () => false],
    [
      'time, from the first moment on and before the last',
      () => ({ created_gte: all[9]!.created_at, created_lt: all[4]!.created_at }),
      ({ created_at }) => all[9]!.created_at <= created_at && created_at < all[4]!.created_at,
    ],
    ['times before there was time', () => ({ created_lt: '1900-01-01T00:00:00Z' }), () => false],
    ['times that no id reaches', () => ({ created_gte: '9999-12-31T23:59:59Z' }), () => false],
  ])('filters by %s', async (_what, query, matches) => {
    const page = await list({ ...query(), limit: 100 });
    expect(page).toEqual({ data: all.filter(matches), next_cursor: null });
  });

  it('finds old entries by time, too', async () => {
    const id = '018bcfe5-6800-7000-8000-000000000001';
    await service.evidence.query(`
      INSERT INTO ledger_entries
        (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at)
      SELECT merchant_id, '${id}', posting, '${id}', account, currency, amount, '2023-11-14T22:13:19.990Z'
      FROM ledger_entries WHERE ledger_transaction_id = '${all[2]!.ledger_transaction_id}'`);
    const day = { created_gte: '2023-11-14T00:00:00Z', created_lt: '2023-11-15T00:00:00Z' };
    expect((await list(day)).data.map(({ transaction_id }) => transaction_id)).toEqual([id, id]);
    const second = { created_gte: '2023-11-14T22:13:19+00:00', created_lt: '2023-11-14T22:13:20Z' };
    expect((await list(second)).data).toHaveLength(2);
    expect((await list({ ...second, transaction_id: id, limit: 1 })).next_cursor).not.toBeNull();
  });

  const cursor = (text: string): string => Buffer.from(text).toString('base64url');
  const ID = '019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e';

  it.each([
    ['limit', '0'],
    ['limit', '101'],
    ['limit', 'many'],
    ['account', 'cash'],
    ['account', ''],
    ['currency', 'eur'],
    ['transaction_id', '1'],
    ['transaction_id', `${ID}%00`],
    ['created_gte', '2026-01-31'],
    ['created_lt', '2026-02-30T00:00:00Z'],
    ['cursor', 'nonsense'],
    ['cursor', cursor(ID)],
    ['cursor', cursor(`${ID}.0`)],
    ['cursor', cursor(`${ID}.32768`)],
    ['cursor', cursor(`${ID}.1.1`)],
    ['cursor', cursor(`${ID}.1e1`)],
    ['cursor', cursor('x.1')],
    ['cursor', `${cursor(`${ID}.1`)}=`],
    ['offset', '20'],
  ])('refuses %s=%s with 400 and names it', async (name, value) => {
    const reply = await service.get(`/v1/ledger/entries?${name}=${value}`);
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({ code: 'validation_failed', errors: [{ field: name }] });
  });

  it('accepts the largest place that a cursor can name', async () => {
    expect((await list({ cursor: cursor('ffffffff-ffff-7fff-bfff-ffffffffffff.32767') })).data.length).toBe(
      14,
    );
  });
});
