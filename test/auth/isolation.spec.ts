import { randomUUID } from 'node:crypto';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { PoolClient, Pool } from 'pg';
import { DataSource } from 'typeorm';
import { createApp } from '../../src/app.js';
import { KeyManagement } from '../../src/auth/key-management.js';
import { loadConfig } from '../../src/config/load-config.js';
import { createLogger } from '../../src/http/logger.js';
import { openApiDocument } from '../../src/http/openapi.js';
import { createTemporaryFolder, createTestDatabase, type TestDatabase } from '../support/postgres.js';

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

interface Shop {
  merchantId: string;
  apiKey: string;
  /** The first is completed and partly refunded, the second is authorized. */
  payments: string[];
  refundId: string;
  reversalId: string;
  /** The refund's event. */
  eventId: string;
  webhookEndpointId: string;
  webhookDeliveryId: string;
}

/** A well-formed id that belongs to nothing. */
const UNKNOWN = '019b2f6e-0000-7000-8000-000000000000';
const UNKNOWN_KEY = 'nobody-has-sent-this';
/** Both shops use the same keys, but for different requests. */
const KEYS = {
  completed: 'order-1',
  authorized: 'order-2',
  refund: 'order-1-refund',
  neverSent: 'order-3',
} as const;

/** Every route whose path names something of a merchant, and what of the other shop's to put there. */
const ROUTES_WITH_IDS: readonly {
  route: string;
  method: Method;
  path: (id: string) => string;
  theirs: (shop: Shop) => string;
  body?: object;
}[] = [
  {
    route: 'get /v1/payments/{transaction_id}',
    method: 'GET',
    path: (id) => `/v1/payments/${id}`,
    theirs: completed,
  },
  {
    route: 'post /v1/payments/{transaction_id}/capture',
    method: 'POST',
    path: (id) => `/v1/payments/${id}/capture`,
    theirs: authorized,
  },
  {
    route: 'post /v1/payments/{transaction_id}/cancel',
    method: 'POST',
    path: (id) => `/v1/payments/${id}/cancel`,
    theirs: authorized,
  },
  {
    route: 'post /v1/payments/{transaction_id}/refunds',
    method: 'POST',
    path: (id) => `/v1/payments/${id}/refunds`,
    theirs: completed,
  },
  {
    route: 'get /v1/payments/{transaction_id}/refunds',
    method: 'GET',
    path: (id) => `/v1/payments/${id}/refunds`,
    theirs: completed,
  },
  {
    route: 'get /v1/refunds/{refund_id}',
    method: 'GET',
    path: (id) => `/v1/refunds/${id}`,
    theirs: ({ refundId }) => refundId,
  },
  {
    route: 'get /v1/reversals/{reversal_id}',
    method: 'GET',
    path: (id) => `/v1/reversals/${id}`,
    theirs: ({ reversalId }) => reversalId,
  },
  {
    route: 'get /v1/events/{event_id}',
    method: 'GET',
    path: (id) => `/v1/events/${id}`,
    theirs: ({ eventId }) => eventId,
  },
  {
    route: 'get /v1/webhook-endpoints/{webhook_endpoint_id}',
    method: 'GET',
    path: (id) => `/v1/webhook-endpoints/${id}`,
    theirs: ({ webhookEndpointId }) => webhookEndpointId,
  },
  {
    route: 'patch /v1/webhook-endpoints/{webhook_endpoint_id}',
    method: 'PATCH',
    path: (id) => `/v1/webhook-endpoints/${id}`,
    theirs: ({ webhookEndpointId }) => webhookEndpointId,
    body: { enabled: false },
  },
  {
    route: 'delete /v1/webhook-endpoints/{webhook_endpoint_id}',
    method: 'DELETE',
    path: (id) => `/v1/webhook-endpoints/${id}`,
    theirs: ({ webhookEndpointId }) => webhookEndpointId,
  },
  {
    route: 'post /v1/webhook-endpoints/{webhook_endpoint_id}/rotate-secret',
    method: 'POST',
    path: (id) => `/v1/webhook-endpoints/${id}/rotate-secret`,
    theirs: ({ webhookEndpointId }) => webhookEndpointId,
  },
  {
    route: 'get /v1/webhook-endpoints/{webhook_endpoint_id}/deliveries',
    method: 'GET',
    path: (id) => `/v1/webhook-endpoints/${id}/deliveries`,
    theirs: ({ webhookEndpointId }) => webhookEndpointId,
  },
  {
    route: 'post /v1/webhook-endpoints/{webhook_endpoint_id}/resend',
    method: 'POST',
    path: (id) => `/v1/webhook-endpoints/${id}/resend`,
    theirs: ({ webhookEndpointId }) => webhookEndpointId,
    body: { created_gte: '2026-01-01T00:00:00Z' },
  },
  {
    route: 'post /v1/webhook-deliveries/{webhook_delivery_id}/retry',
    method: 'POST',
    path: (id) => `/v1/webhook-deliveries/${id}/retry`,
    theirs: ({ webhookDeliveryId }) => webhookDeliveryId,
  },
];

/** Routes whose path names nothing, and the one that takes the caller's own key. Each has a test below. */
const OTHER_ROUTES = [
  'get /v1/payments',
  'post /v1/payments',
  'get /v1/idempotency-keys/{key}',
  'get /v1/currencies',
  'post /v1/reversals',
  // Names a gateway. The payment provider calls it and is known by its signature.
  'post /v1/gateways/{gateway}/notifications',
  'get /v1/balances',
  'get /v1/ledger/entries',
  'get /v1/events',
  'get /v1/webhook-endpoints',
  'post /v1/webhook-endpoints',
];

function completed({ payments: [first = ''] }: Shop): string {
  return first;
}

function authorized({ payments: [, second = ''] }: Shop): string {
  return second;
}

describe('the isolation of merchants', () => {
  let database: TestDatabase;
  let app: NestFastifyApplication;
  let shops: { ours: Shop; theirs: Shop };
  let removeFolder: () => Promise<void>;
  let turn = 0;

  beforeAll(async () => {
    database = await createTestDatabase();
    const folder = await createTemporaryFolder();
    removeFolder = () => folder.remove();
    const config = loadConfig({
      DATABASE_URL: database.url,
      SANDBOX: 'true',
      DATA_DIR: folder.path,
      LOG_LEVEL: 'silent',
      PORT: '0',
    });
    app = await createApp(config, database.url, createLogger(config));
    await app.init();
    await app.getHttpAdapter().getInstance().ready();
    shops = { ours: await openShop('Ours', 1_000), theirs: await openShop('Theirs', 2_000) };
  });
  afterAll(async () => {
    await app.close();
    await database.drop();
    await removeFolder();
  });

  const send = (shop: Shop, method: Method, url: string, payload?: object, key?: string) =>
    app.inject({
      method,
      url,
      headers: {
        authorization: `Bearer ${shop.apiKey}`,
        ...(method === 'POST' && { 'idempotency-key': key ?? `isolation-${turn++}` }),
      },
      ...(payload !== undefined && { payload }),
    });

  async function openShop(name: string, amount: number): Promise<Shop> {
    const keys = new KeyManagement(app.get(DataSource), true);
    const { merchantId, apiKey } = await keys.createMerchant(name);
    const shop: Shop = {
      merchantId,
      apiKey,
      payments: [],
      refundId: '',
      reversalId: '',
      eventId: '',
      webhookEndpointId: '',
      webhookDeliveryId: '',
    };
    const charge = { amount, currency: 'EUR', payment_method: 'pm_card_visa' };
    const first = await send(shop, 'POST', '/v1/payments', charge, KEYS.completed);
    const manual = { ...charge, capture_method: 'manual' };
    const second = await send(shop, 'POST', '/v1/payments', manual, KEYS.authorized);
    shop.payments = [first.json().transaction_id, second.json().transaction_id];
    const refund = await send(
      shop,
      'POST',
      `/v1/payments/${completed(shop)}/refunds`,
      { amount: 1 },
      KEYS.refund,
    );
    expect([first.statusCode, second.statusCode, refund.statusCode]).toEqual([201, 201, 201]);
    shop.refundId = refund.json().refund_id;
    shop.eventId = (await send(shop, 'GET', '/v1/events?limit=1')).json().data[0].event_id;
    const reversal = await send(shop, 'POST', '/v1/reversals', { idempotency_key: KEYS.neverSent });
    expect(reversal.statusCode).toBe(201);
    shop.reversalId = reversal.json().reversal_id;
    await openWebhooks(shop);
    return shop;
  }

  /** An endpoint for an event type that does not happen here, and one delivery. */
  async function openWebhooks(shop: Shop): Promise<void> {
    const endpoint = await send(shop, 'POST', '/v1/webhook-endpoints', {
      url: 'http://127.0.0.1:9/',
      event_types: ['payment.canceled'],
    });
    expect(endpoint.statusCode).toBe(201);
    shop.webhookEndpointId = endpoint.json().webhook_endpoint_id;
    shop.webhookDeliveryId = randomUUID();
    await app.get(DataSource).query(
      `INSERT INTO webhook_deliveries
         (merchant_id, webhook_delivery_id, webhook_endpoint_id, event_id, event_type, status)
       SELECT merchant_id, $2, $3, event_id, type, 'delivered' FROM events WHERE merchant_id = $1 LIMIT 1`,
      [shop.merchantId, shop.webhookDeliveryId, shop.webhookEndpointId],
    );
  }

  it('is tested for every route of the API', () => {
    const { paths } = openApiDocument(app, loadConfig({}));
    const routes = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method} ${path}`),
    );
    expect([...ROUTES_WITH_IDS.map(({ route }) => route), ...OTHER_ROUTES].toSorted()).toEqual(
      routes.filter((route) => route.includes(' /v1/')).toSorted(),
    );
  });

  it('requires a scope on every route of the API, unless a signature proves who calls', () => {
    const { paths } = openApiDocument(app, loadConfig({}));
    const scopes = Object.entries(paths)
      .filter(([path]) => path.startsWith('/v1/'))
      .flatMap(([path, operations]) =>
        Object.entries(operations as Record<string, { security?: unknown }>).map(([method, { security }]) => [
          `${method} ${path}`,
          (security as { api_key?: string[] }[] | undefined)?.[0]?.api_key?.[0],
        ]),
      );
    expect(Object.fromEntries(scopes)).toEqual({
      'get /v1/balances': 'payments:read',
      'get /v1/currencies': 'payments:read',
      'get /v1/events': 'payments:read',
      'get /v1/events/{event_id}': 'payments:read',
      'get /v1/idempotency-keys/{key}': 'payments:read',
      'get /v1/ledger/entries': 'payments:read',
      'get /v1/payments': 'payments:read',
      'get /v1/payments/{transaction_id}': 'payments:read',
      'get /v1/payments/{transaction_id}/refunds': 'payments:read',
      'get /v1/refunds/{refund_id}': 'payments:read',
      'get /v1/reversals/{reversal_id}': 'payments:read',
      'post /v1/gateways/{gateway}/notifications': undefined,
      'post /v1/payments': 'payments:write',
      'post /v1/payments/{transaction_id}/cancel': 'payments:write',
      'post /v1/payments/{transaction_id}/capture': 'payments:write',
      'post /v1/payments/{transaction_id}/refunds': 'refunds:write',
      'post /v1/reversals': 'payments:write',
      'get /v1/webhook-endpoints': 'webhooks:manage',
      'get /v1/webhook-endpoints/{webhook_endpoint_id}': 'webhooks:manage',
      'get /v1/webhook-endpoints/{webhook_endpoint_id}/deliveries': 'webhooks:manage',
      'patch /v1/webhook-endpoints/{webhook_endpoint_id}': 'webhooks:manage',
      'delete /v1/webhook-endpoints/{webhook_endpoint_id}': 'webhooks:manage',
      'post /v1/webhook-deliveries/{webhook_delivery_id}/retry': 'webhooks:manage',
      'post /v1/webhook-endpoints': 'webhooks:manage',
      'post /v1/webhook-endpoints/{webhook_endpoint_id}/resend': 'webhooks:manage',
      'post /v1/webhook-endpoints/{webhook_endpoint_id}/rotate-secret': 'webhooks:manage',
    });
  });

  it.each(ROUTES_WITH_IDS)(
    '$route: answers an id of theirs like an id that does not exist',
    async (example) => {
      const before = await rowsOf(shops.theirs);
      const ask = (id: string) => send(shops.ours, example.method, example.path(id), example.body);
      const theirs = await ask(example.theirs(shops.theirs));
      const unknown = await ask(UNKNOWN);
      expect([theirs.statusCode, theirs.json().code]).toEqual([404, 'not_found']);
      expect(comparable(theirs)).toEqual(comparable(unknown));
      expect(await rowsOf(shops.theirs)).toEqual(before);

      const own = await send(shops.theirs, 'GET', `/v1/payments/${completed(shops.theirs)}`);
      expect(own.statusCode).toBe(200);
    },
  );

  it.each(ROUTES_WITH_IDS)('$route: runs the same statements for both', async (example) => {
    const statements = (id: string) =>
      statementsOf(() => send(shops.ours, example.method, example.path(id), example.body));
    let theirs: string[] = [];
    let unknown: string[] = [];
    // Background work may run a statement in between, so try again: a real difference would be there every time.
    for (
      let attempt = 0;
      attempt < 5 && (theirs.length === 0 || String(theirs) !== String(unknown));
      attempt++
    ) {
      unknown = await statements(UNKNOWN);
      theirs = await statements(example.theirs(shops.theirs));
    }
    expect(theirs).toEqual(unknown);
    expect(theirs).not.toEqual([]);
  });

  it('runs one request per shop under the same key, and replays to each its own answer', async () => {
    for (const [shop, amount] of [
      [shops.ours, 1_000],
      [shops.theirs, 2_000],
    ] as const) {
      const charge = { amount, currency: 'EUR', payment_method: 'pm_card_visa' };
      const replay = await send(shop, 'POST', '/v1/payments', charge, KEYS.completed);
      expect(replay.headers['idempotent-replayed']).toBe('true');
      expect(replay.json()).toMatchObject({
        merchant_id: shop.merchantId,
        amount,
        transaction_id: completed(shop),
      });
    }
  });

  it('shows a key only to the merchant that used it', async () => {
    const payment = { amount: 1, currency: 'EUR', payment_method: 'pm_card_visa' };
    expect((await send(shops.theirs, 'POST', '/v1/payments', payment, 'theirs-alone')).statusCode).toBe(201);
    const theirs = await send(shops.ours, 'GET', '/v1/idempotency-keys/theirs-alone');
    const unknown = await send(shops.ours, 'GET', `/v1/idempotency-keys/${UNKNOWN_KEY}`);
    expect(theirs.statusCode).toBe(404);
    expect(comparable(theirs)).toEqual(comparable(unknown));
    for (const shop of [shops.ours, shops.theirs]) {
      const own = await send(shop, 'GET', `/v1/idempotency-keys/${KEYS.completed}`);
      expect(own.json().resource).toBe(`/v1/payments/${completed(shop)}`);
    }
    // We can still use the key ourselves.
    const ours = await send(shops.ours, 'POST', '/v1/payments', payment, 'theirs-alone');
    expect(ours.statusCode).toBe(201);
    expect(ours.headers['idempotent-replayed']).toBe('false');
  });

  it('reverses a key only for us, even if they used the same key', async () => {
    const payment = { amount: 1, currency: 'EUR', payment_method: 'pm_card_visa' };
    const theirs = await send(shops.theirs, 'POST', '/v1/payments', payment, 'theirs-to-keep');
    const before = await rowsOf(shops.theirs);
    const reversal = await send(shops.ours, 'POST', '/v1/reversals', { idempotency_key: 'theirs-to-keep' });
    expect(reversal.json()).toMatchObject({ outcome: 'prevented', transaction_id: null });
    expect(await rowsOf(shops.theirs)).toEqual(before);
    const replay = await send(shops.theirs, 'POST', '/v1/payments', payment, 'theirs-to-keep');
    expect([replay.statusCode, replay.body]).toEqual([201, theirs.body]);
  });

  it('lists only what is ours, with any filter and any cursor', async () => {
    const theirFirstPage = (await send(shops.theirs, 'GET', '/v1/payments?limit=1')).json();
    for (const query of [
      '',
      '?limit=100',
      '?status=completed',
      '?status=authorized',
      '?currency=EUR',
      `?cursor=${encodeURIComponent(String(theirFirstPage.next_cursor))}`,
    ]) {
      const { data } = (await send(shops.ours, 'GET', `/v1/payments${query}`)).json();
      expect(
        data.every((payment: { merchant_id: string }) => payment.merchant_id === shops.ours.merchantId),
      ).toBe(true);
    }
    const refunds = (await send(shops.ours, 'GET', `/v1/payments/${completed(shops.ours)}/refunds`)).json();
    expect(refunds.data.map((refund: { refund_id: string }) => refund.refund_id)).toEqual([
      shops.ours.refundId,
    ]);
    const endpoints = (await send(shops.ours, 'GET', '/v1/webhook-endpoints?limit=100')).json();
    expect(
      endpoints.data.map((endpoint: { webhook_endpoint_id: string }) => endpoint.webhook_endpoint_id),
    ).toEqual([shops.ours.webhookEndpointId]);
  });

  it('shows only our balances and ledger entries, with any filter and any cursor', async () => {
    const balances = async (shop: Shop) => (await send(shop, 'GET', '/v1/balances')).json().data;
    const entries = async (shop: Shop, query = '') =>
      (await send(shop, 'GET', `/v1/ledger/entries${query}`)).json();
    const booked = async ({ merchantId }: Shop) =>
      app
        .get(DataSource)
        .query<{ account: string; currency: string; sum: string }[]>(
          `SELECT account, currency, sum(amount) FROM ledger_entries WHERE merchant_id = $1 GROUP BY 1, 2 ORDER BY 2, 1`,
          [merchantId],
        );
    for (const shop of [shops.ours, shops.theirs]) {
      expect(await balances(shop)).toEqual(
        (await booked(shop)).map(({ sum, ...account }) => ({ ...account, balance: Number(sum) })),
      );
    }
    const { next_cursor } = await entries(shops.theirs, '?limit=1');
    const ofOurs = (await entries(shops.ours, '?limit=100')).data.map(
      (entry: { ledger_entry_id: string }) => entry.ledger_entry_id,
    );
    expect(ofOurs.length).toBeGreaterThan(0);
    for (const query of [`?cursor=${next_cursor}`, '?currency=EUR', '?account=merchant_payable']) {
      for (const { ledger_entry_id } of (await entries(shops.ours, query)).data) {
        expect(ofOurs).toContain(ledger_entry_id);
      }
    }
    const [theirs, unknown] = [completed(shops.theirs), UNKNOWN].map((id) => `?transaction_id=${id}`);
    expect(await entries(shops.ours, theirs)).toEqual({ data: [], next_cursor: null });
    expect(await entries(shops.ours, unknown)).toEqual({ data: [], next_cursor: null });
  });

  it('lists only our events, and none for a payment of theirs', async () => {
    const theirFirstPage = (await send(shops.theirs, 'GET', '/v1/events?limit=1')).json();
    for (const query of ['', '?type=refund.completed', `?cursor=${theirFirstPage.next_cursor}`]) {
      const { data } = (await send(shops.ours, 'GET', `/v1/events${query}`)).json();
      const ids: string[] = data.map((event: { transaction_id: string }) => event.transaction_id);
      const owners = await app
        .get(DataSource)
        .query('SELECT DISTINCT merchant_id FROM payments WHERE transaction_id = ANY ($1)', [ids]);
      expect(owners).toEqual([{ merchant_id: shops.ours.merchantId }]);
    }
    const theirs = await send(shops.ours, 'GET', `/v1/events?transaction_id=${completed(shops.theirs)}`);
    expect(theirs.json()).toEqual({ data: [], next_cursor: null });
  });

  it('shows every merchant the same currencies', async () => {
    const [ours, theirs] = await Promise.all([
      send(shops.ours, 'GET', '/v1/currencies'),
      send(shops.theirs, 'GET', '/v1/currencies'),
    ]);
    expect(ours.json().data).toContainEqual({ code: 'JPY', exponent: 0, name: 'Japanese Yen' });
    expect(theirs.body).toBe(ours.body);
  });

  it.each([
    ['unknown', async () => 'hpx_live_unknown'],
    ['revoked', revokedKey],
    ['expired', expiredKey],
  ])('says of a key that is %s only that it is not valid', async (_state, makeKey) => {
    const answer = await app.inject({
      url: `/v1/payments/${completed(shops.ours)}`,
      headers: { authorization: `Bearer ${await makeKey()}` },
    });
    expect([answer.statusCode, answer.json().detail]).toEqual([401, 'The API key is not valid.']);
  });

  async function revokedKey(): Promise<string> {
    const keys = new KeyManagement(app.get(DataSource), true);
    const issued = await keys.createKey(shops.ours.merchantId, ['payments:read'], null);
    await keys.revoke(issued.apiKeyId);
    return issued.apiKey;
  }

  async function expiredKey(): Promise<string> {
    const keys = new KeyManagement(app.get(DataSource), true);
    const issued = await keys.createKey(shops.ours.merchantId, ['payments:read'], 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return issued.apiKey;
  }

  /** All rows of a shop, as text. */
  async function rowsOf({ merchantId }: Shop): Promise<string[]> {
    const rows: string[] = [];
    for (const table of [
      'payments',
      'refunds',
      'reversals',
      'idempotency_keys',
      'ledger_entries',
      'events',
      'webhook_endpoints',
      'webhook_deliveries',
    ]) {
      const found = await app
        .get(DataSource)
        .query<{ row: string }[]>(`SELECT t::text AS row FROM ${table} t WHERE merchant_id = $1 ORDER BY 1`, [
          merchantId,
        ]);
      rows.push(...found.map(({ row }) => `${table} ${row}`));
    }
    return rows;
  }

  /**
   * The statements that a request sends, without their values. On a shared machine we cannot compare times, but we can
   * compare what is run.
   */
  async function statementsOf(request: () => Promise<unknown>): Promise<string[]> {
    const pool = (app.get(DataSource).driver as unknown as { master: Pool }).master;
    const seen: string[] = [];
    const client = await pool.connect();
    const prototype = Object.getPrototypeOf(client) as PoolClient;
    client.release();
    // oxlint-disable-next-line typescript/unbound-method -- `record` calls it with its own `this`
    const query = prototype.query;
    prototype.query = function record(this: PoolClient, ...args: unknown[]) {
      const [statement] = args as [string | { text?: string }];
      seen.push(typeof statement === 'string' ? statement : (statement.text ?? ''));
      return Reflect.apply(query, this, args) as unknown;
    } as typeof query;
    try {
      await request();
      return seen;
    } finally {
      prototype.query = query;
    }
  }
});

/** An answer without the parts that always differ: request id and date. */
function comparable(answer: { body: string; headers: object; statusCode: number }): unknown {
  const { 'x-request-id': requestId, date: _date, ...headers } = answer.headers as Record<string, unknown>;
  return {
    status: answer.statusCode,
    headers,
    body: answer.body.replaceAll(String(requestId), '<request id>'),
  };
}
