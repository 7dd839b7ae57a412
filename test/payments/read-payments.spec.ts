import { setTimeout as sleep } from 'node:timers/promises';
import { chargeBody } from '../support/client.js';
import { TestApp } from '../support/test-app.js';

interface Page {
  data: { transaction_id: string; created_at: string; status: string; currency: string }[];
  next_cursor: string | null;
}

const USER = '0b6b2f0e-58c8-4d64-9c0f-9d1b6a3f1c55';

describe('GET /v1/payments', () => {
  let service: TestApp;
  let strangerKey: string;
  /** In the order in which they were created. */
  const made: Page['data'] = [];

  beforeAll(async () => {
    service = await TestApp.start();
    ({ apiKey: strangerKey } = await service.addMerchant());
    for (let index = 0; index < 25; index += 1) {
      // Ids of one millisecond sort at random. That is allowed, but would leave no order to compare with.
      await sleep(2);
      const reply = await service.post(chargeBody(kindOf(index)));
      const id = (reply.body as { transaction_id: string }).transaction_id;
      made.push((await service.get(`/v1/payments/${id}`)).body as Page['data'][number]);
    }
    await service.post(chargeBody(), { apiKey: strangerKey });
  });
  afterAll(() => service.stop());

  function kindOf(index: number): Record<string, unknown> {
    if (index % 5 === 1) return { currency: 'USD' };
    if (index % 5 === 2) return { capture_method: 'manual', user_id: USER };
    return index % 5 === 3 ? { user_id: USER.toUpperCase() } : {};
  }

  const newestFirst = (payments: Page['data']) => payments.toReversed();

  async function list(query: Record<string, string | number> = {}, apiKey?: string): Promise<Page> {
    const reply = await service.get('/v1/payments', apiKey).query(query);
    expect(reply.status).toBe(200);
    return reply.body as Page;
  }

  it('reads one payment as it is now', async () => {
    expect((await service.get(`/v1/payments/${made[0]!.transaction_id}`)).body).toEqual(made[0]);
  });

  it.each([
    ['of another merchant', () => service.get(`/v1/payments/${made[0]!.transaction_id}`, strangerKey)],
    ['that does not exist', () => service.get('/v1/payments/019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e')],
    ['that cannot exist', () => service.get('/v1/payments/1%27%20OR%201=1')],
  ])('answers 404 for a payment %s', async (_what, read) => {
    const reply = await read();
    expect(reply.status).toBe(404);
    expect(reply.body).toMatchObject({ code: 'not_found', detail: 'There is no such payment.' });
  });

  it('lists the newest first, 20 at a time, and only the merchant’s own', async () => {
    const page = await list();
    expect(page.data).toEqual(newestFirst(made).slice(0, 20));
    expect(page.next_cursor).toEqual(expect.any(String));
    expect((await list({}, strangerKey)).data).toHaveLength(1);
  });

  it.each([1, 4, 7, 24, 25, 100])(
    'pages by the cursor without a gap or a repeat, %d at a time',
    async (limit) => {
      const seen: Page['data'] = [];
      let cursor: string | null = null;
      do {
        const page: Page = await list({ limit, ...(cursor !== null && { cursor }) });
        expect(page.data.length).toBeLessThanOrEqual(limit);
        expect(page.data.length).toBeGreaterThan(0);
        seen.push(...page.data);
        cursor = page.next_cursor;
      } while (cursor !== null);
      expect(seen).toEqual(newestFirst(made));
    },
  );

  it('a payment that arrives between two pages neither shifts nor repeats anything', async () => {
    const first = await list({ limit: 3, currency: 'USD' });
    await service.post(chargeBody({ currency: 'USD' }));
    const second = await list({ limit: 3, currency: 'USD', cursor: first.next_cursor! });
    const dollars = newestFirst(made).filter((payment) => payment.currency === 'USD');
    expect([...first.data, ...second.data]).toEqual(dollars);
    expect(second.next_cursor).toBeNull();
  });

  it.each<[string, Record<string, string>, (index: number) => boolean]>([
    ['status', { status: 'authorized' }, (index) => index % 5 === 2],
    ['user, whatever the case of the id', { user_id: USER }, (index) => [2, 3].includes(index % 5)],
    ['several filters at once', { user_id: USER, status: 'completed' }, (index) => index % 5 === 3],
    ['nothing that matches', { status: 'canceled' }, () => false],
  ])('filters by %s', async (_what, query, matches) => {
    const { data, next_cursor } = await list({ ...query, limit: 100 });
    expect(data).toEqual(newestFirst(made.filter((_, index) => matches(index))));
    expect(next_cursor).toBeNull();
  });

  it('filters by time, including the first moment and excluding the last', async () => {
    const { data } = await list({ created_gte: made[5]!.created_at, created_lt: made[9]!.created_at });
    expect(data).toEqual(newestFirst(made.slice(5, 9)));
    const offset = made[5]!.created_at.replace('Z', '+00:00');
    expect((await list({ created_gte: offset, created_lt: made[9]!.created_at })).data).toEqual(data);
  });

  it.each([
    ['limit', '0'],
    ['limit', '101'],
    ['limit', '-1'],
    ['limit', '1.5'],
    ['limit', 'many'],
    ['limit', ''],
    ['status', 'paid'],
    ['currency', 'eur'],
    ['currency', 'XXX'],
    ['user_id', 'somebody'],
    ['created_gte', '2026-01-31'],
    ['created_lt', 'yesterday'],
    ['created_lt', '2026-02-30T00:00:00Z'],
    ['cursor', 'nonsense'],
    ['cursor', '%00'],
    ['offset', '20'],
  ])('refuses %s=%s with 400 and names it', async (name, value) => {
    const reply = await service.get(`/v1/payments?${name}=${value}`);
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({
      code: 'validation_failed',
      errors: [{ field: name, message: expect.any(String) }],
    });
  });

  it('refuses a parameter that is given twice', async () => {
    const reply = await service.get('/v1/payments?limit=1&limit=2');
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({ errors: [{ field: 'limit' }] });
  });
});
