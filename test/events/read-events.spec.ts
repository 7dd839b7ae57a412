import { setTimeout as sleep } from 'node:timers/promises';
import { API_KEY, chargeBody, newKey } from '../support/client.js';
import { post } from '../support/api.js';
import { TestApp } from '../support/test-app.js';

interface WireEvent {
  event_id: string;
  type: string;
  transaction_id: string;
  sequence: number;
  created_at: string;
  data: Record<string, unknown>;
}

interface Page {
  data: WireEvent[];
  next_cursor: string | null;
}

describe('GET /v1/events', () => {
  let service: TestApp;
  let baseUrl: string;
  let strangerKey: string;
  /** All of them, oldest first. */
  let made: WireEvent[];
  /** Captured, then refunded in two parts. The second part is the last thing that happened. */
  let refunded: string;

  beforeAll(async () => {
    service = await TestApp.start();
    ({ apiKey: strangerKey } = await service.addMerchant());
    baseUrl = await service.app.getUrl();
    const paymentOf = async (changes: Record<string, unknown>): Promise<string> => {
      // Ids of one millisecond sort at random. That is allowed, but would leave no order to compare with.
      await sleep(2);
      const reply = await service.post(chargeBody({ amount: 1000, ...changes }));
      return (reply.body as { transaction_id: string }).transaction_id;
    };
    const then = async (path: string, body?: object): Promise<void> => {
      await sleep(2);
      const reply = await post({ baseUrl }, `/v1/payments/${path}`, body ? { body } : {});
      expect(reply.status).toBeLessThan(300);
    };
    for (let index = 0; index < 8; index += 1) await paymentOf({});
    await paymentOf({ payment_method: 'pm_card_declined' });
    await then(`${await paymentOf({ capture_method: 'manual' })}/cancel`);
    refunded = await paymentOf({ capture_method: 'manual' });
    await then(`${refunded}/capture`);
    await then(`${refunded}/refunds`, { amount: 300 });
    await then(`${refunded}/refunds`, { amount: 700, reason: 'late' });
    made = (await list({ limit: 100 })).data.toReversed();
    await service.post(chargeBody(), { apiKey: strangerKey });
  });
  afterAll(() => service.stop());

  async function list(query: Record<string, string | number> = {}, apiKey?: string): Promise<Page> {
    const reply = await service.get('/v1/events', apiKey).query(query);
    expect(reply.status).toBe(200);
    return reply.body as Page;
  }

  it('shows everything that happened, in one shape', () => {
    expect(made.map(({ type }) => type)).toEqual([
      ...Array.from({ length: 8 }, () => 'payment.completed'),
      'payment.failed',
      'payment.authorized',
      'payment.canceled',
      'payment.authorized',
      'payment.completed',
      'refund.completed',
      'refund.completed',
    ]);
    const event = made.at(-1);
    expect(event).toEqual({
      event_id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
      type: 'refund.completed',
      transaction_id: refunded,
      sequence: 4,
      created_at: event?.data['updated_at'],
      data: expect.objectContaining({ amount: 700, reason: 'late', status: 'completed' }),
    });
  });

  it('numbers a payment’s events without a gap, and shows the resource as it was then', async () => {
    const { data } = await list({ transaction_id: refunded });
    expect(data.map(({ sequence, type, data: { status } }) => [sequence, type, status])).toEqual([
      [4, 'refund.completed', 'completed'],
      [3, 'refund.completed', 'completed'],
      [2, 'payment.completed', 'completed'],
      [1, 'payment.authorized', 'authorized'],
    ]);
    expect(data[2]?.data).toMatchObject({ amount_captured: 1000, amount_refunded: 0 });
    const now = (await service.get(`/v1/payments/${refunded}`)).body as object;
    expect(now).toMatchObject({ amount_refunded: 1000 });
    expect(Object.keys(data[2]!.data)).toEqual(Object.keys(now));
  });

  it('reads one event, and answers 404 if it does not exist or belongs to another merchant', async () => {
    const [event] = made as [WireEvent];
    expect((await service.get(`/v1/events/${event.event_id}`)).body).toEqual(event);
    for (const [id, key] of [
      [event.event_id, strangerKey],
      ['019b2f6e-7c1a-7d3e-9f00-4b6f0a1c2d3e', API_KEY],
      ['1%27%20OR%201=1', API_KEY],
    ] as const) {
      const reply = await service.get(`/v1/events/${id}`, key);
      expect(reply.status).toBe(404);
      expect(reply.body).toMatchObject({ code: 'not_found', detail: 'There is no such event.' });
    }
  });

  it.each([1, 4, 14, 15, 100])(
    'pages by the cursor without a gap or a repeat, %d at a time',
    async (limit) => {
      const seen: WireEvent[] = [];
      let cursor: string | null = null;
      do {
        const page: Page = await list({ limit, ...(cursor !== null && { cursor }) });
        seen.push(...page.data);
        cursor = page.next_cursor;
      } while (cursor !== null);
      expect(seen).toEqual(made.toReversed());
    },
  );

  it.each(['payment.completed', 'payment.failed', 'payment.canceled', 'refund.completed', 'refund.failed'])(
    'filters by the type %s',
    async (type) => {
      const { data } = await list({ type, limit: 100 });
      expect(data).toEqual(made.filter((event) => event.type === type).toReversed());
    },
  );

  it('filters by time, including the first moment and excluding the last, alone and with other filters', async () => {
    const range = { created_gte: made[3]!.created_at, created_lt: made[9]!.created_at };
    expect((await list(range)).data).toEqual(made.slice(3, 9).toReversed());
    expect((await list({ ...range, type: 'payment.failed' })).data).toEqual([made[8]]);
    expect((await list({ created_lt: '1000-01-01T00:00:00Z' })).data).toEqual([]);
    expect((await list({ created_gte: '9999-12-31T23:59:59Z' })).data).toEqual([]);
    expect((await list({ created_gte: '1000-01-01T00:00:00Z', limit: 100 })).data).toHaveLength(made.length);
  });

  it.each([
    ['limit', '0'],
    ['limit', '101'],
    ['type', 'payment.paid'],
    ['type', ''],
    ['transaction_id', 'somebody'],
    ['created_gte', '2026-01-31'],
    ['created_lt', '2026-02-30T00:00:00Z'],
    ['cursor', 'nonsense'],
    ['sequence', '1'],
  ])('refuses %s=%s with 400 and names it', async (name, value) => {
    const reply = await service.get(`/v1/events?${name}=${value}`);
    expect(reply.status).toBe(400);
    expect(reply.body).toMatchObject({ code: 'validation_failed', errors: [{ field: name }] });
  });

  it('gets no event from a repeated request, whatever became of the first', async () => {
    const before = (await list({ limit: 100 })).data.length;
    for (const body of [
      chargeBody(),
      chargeBody({ payment_method: 'pm_card_declined' }),
      chargeBody({ capture_method: 'manual' }),
    ]) {
      const key = newKey();
      for (let time = 0; time < 3; time += 1) await service.post(body, { key });
      await Promise.all([1, 2, 3].map(() => service.post(body, { key })));
    }
    expect((await list({ limit: 100 })).data).toHaveLength(before + 3);
  });
});
