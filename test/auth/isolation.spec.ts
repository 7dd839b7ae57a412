import type { Pool, PoolClient } from 'pg';
import { DataSource } from 'typeorm';
import { loadConfig } from '../../src/config/load-config.js';
import { openApiDocument } from '../../src/http/openapi.js';
import { comparable, KEYS, TwoMerchants, UNKNOWN, type Merchant, type Method } from './two-merchants.js';

const UNKNOWN_KEY = 'nobody-has-sent-this';

type IdOf = (merchant: Merchant) => string;
const completed: IdOf = (merchant) => merchant.completed;
const authorized: IdOf = (merchant) => merchant.authorized;
const webhookEndpoint: IdOf = (merchant) => merchant.webhookEndpointId;

/** Every route whose path names something of a merchant, and what of the other merchant's to put there. */
const ROUTES_WITH_IDS: readonly { route: string; theirs: IdOf; body?: object }[] = [
  { route: 'get /v1/payments/{transaction_id}', theirs: completed },
  { route: 'post /v1/payments/{transaction_id}/capture', theirs: authorized },
  { route: 'post /v1/payments/{transaction_id}/cancel', theirs: authorized },
  { route: 'post /v1/payments/{transaction_id}/refunds', theirs: completed },
  { route: 'get /v1/payments/{transaction_id}/refunds', theirs: completed },
  { route: 'get /v1/refunds/{refund_id}', theirs: ({ refundId }) => refundId },
  { route: 'get /v1/reversals/{reversal_id}', theirs: ({ reversalId }) => reversalId },
  { route: 'get /v1/events/{event_id}', theirs: ({ eventId }) => eventId },
  { route: 'get /v1/webhook-endpoints/{webhook_endpoint_id}', theirs: webhookEndpoint },
  {
    route: 'patch /v1/webhook-endpoints/{webhook_endpoint_id}',
    theirs: webhookEndpoint,
    body: { enabled: false },
  },
  { route: 'delete /v1/webhook-endpoints/{webhook_endpoint_id}', theirs: webhookEndpoint },
  { route: 'post /v1/webhook-endpoints/{webhook_endpoint_id}/rotate-secret', theirs: webhookEndpoint },
  { route: 'get /v1/webhook-endpoints/{webhook_endpoint_id}/deliveries', theirs: webhookEndpoint },
  {
    route: 'post /v1/webhook-endpoints/{webhook_endpoint_id}/resend',
    theirs: webhookEndpoint,
    body: { created_gte: '2026-01-01T00:00:00Z' },
  },
  {
    route: 'post /v1/webhook-deliveries/{webhook_delivery_id}/retry',
    theirs: ({ webhookDeliveryId }) => webhookDeliveryId,
  },
];

/** Routes whose path names nothing of a merchant, and why none shows what is another's. */
const OTHER_ROUTES = [
  // Take the caller's own key: tested below.
  'post /v1/payments',
  'get /v1/idempotency-keys/{key}',
  'post /v1/reversals',
  // Lists: tested in isolated-lists.spec.ts.
  'get /v1/payments',
  'get /v1/balances',
  'get /v1/ledger/entries',
  'get /v1/events',
  'get /v1/webhook-endpoints',
  'get /v1/currencies',
  // Its answer is what the caller has just created.
  'post /v1/webhook-endpoints',
  // Names a gateway. The payment provider calls it and is known by its signature.
  'post /v1/gateways/{gateway}/notifications',
];

describe('the isolation of merchants', () => {
  let merchants: TwoMerchants;

  beforeAll(async () => {
    merchants = await TwoMerchants.open();
  });
  afterAll(() => merchants.close());

  /** Our request to a route, with an id in its path. */
  function ask({ route, body }: { route: string; body?: object }, id: string) {
    const [method = '', path = ''] = route.split(' ');
    const url = path.replace(/\{.*\}/, id);
    return merchants.ours.send(method.toUpperCase() as Method, url, body);
  }

  it('is tested for every route of the API', () => {
    const { paths } = openApiDocument(merchants.app.app, loadConfig({}));
    const routes = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method} ${path}`),
    );
    expect([...ROUTES_WITH_IDS.map(({ route }) => route), ...OTHER_ROUTES].toSorted()).toEqual(
      routes.filter((route) => route.includes(' /v1/')).toSorted(),
    );
  });

  it('requires a scope on every route of the API, unless a signature proves who calls', () => {
    const { paths } = openApiDocument(merchants.app.app, loadConfig({}));
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
    '$route answers an id of theirs like an id that does not exist',
    async (example) => {
      const before = await merchants.theirs.rows();
      const theirs = await ask(example, example.theirs(merchants.theirs));
      const unknown = await ask(example, UNKNOWN);
      expect([theirs.statusCode, theirs.json().code]).toEqual([404, 'not_found']);
      expect(comparable(theirs)).toEqual(comparable(unknown));
      expect(await merchants.theirs.rows()).toEqual(before);

      const own = await merchants.theirs.send('GET', `/v1/payments/${merchants.theirs.completed}`);
      expect(own.statusCode).toBe(200);
    },
  );

  it.each(ROUTES_WITH_IDS)('$route runs the same statements for both', async (example) => {
    let theirs: string[] = [];
    let unknown: string[] = [];
    // Background work may run a statement in between, so try again: a real difference would be there every time.
    for (
      let attempt = 0;
      attempt < 5 && (theirs.length === 0 || String(theirs) !== String(unknown));
      attempt++
    ) {
      unknown = await statementsOf(() => ask(example, UNKNOWN));
      theirs = await statementsOf(() => ask(example, example.theirs(merchants.theirs)));
    }
    expect(theirs).toEqual(unknown);
    expect(theirs).not.toEqual([]);
  });

  it('runs one request per merchant under the same key, and replays its own answer to each', async () => {
    for (const [merchant, amount] of [
      [merchants.ours, 1_000],
      [merchants.theirs, 2_000],
    ] as const) {
      const replay = await merchant.pay(amount, KEYS.completed);
      expect(replay.headers['idempotent-replayed']).toBe('true');
      expect(replay.json()).toMatchObject({
        merchant_id: merchant.merchantId,
        amount,
        transaction_id: merchant.completed,
      });
    }
  });

  it('shows a key only to the merchant that used it', async () => {
    expect((await merchants.theirs.pay(1, 'theirs-alone')).statusCode).toBe(201);
    const theirs = await merchants.ours.send('GET', '/v1/idempotency-keys/theirs-alone');
    const unknown = await merchants.ours.send('GET', `/v1/idempotency-keys/${UNKNOWN_KEY}`);
    expect(theirs.statusCode).toBe(404);
    expect(comparable(theirs)).toEqual(comparable(unknown));
    for (const merchant of [merchants.ours, merchants.theirs]) {
      const { resource } = await merchant.get(`/v1/idempotency-keys/${KEYS.completed}`);
      expect(resource).toBe(`/v1/payments/${merchant.completed}`);
    }
    // We can still use the key ourselves.
    const ours = await merchants.ours.pay(1, 'theirs-alone');
    expect(ours.statusCode).toBe(201);
    expect(ours.headers['idempotent-replayed']).toBe('false');
  });

  it('reverses a key only for us, even if they used the same key', async () => {
    const theirs = await merchants.theirs.pay(1, 'theirs-to-keep');
    const before = await merchants.theirs.rows();
    const reversal = await merchants.ours.send('POST', '/v1/reversals', {
      idempotency_key: 'theirs-to-keep',
    });
    expect(reversal.json()).toMatchObject({ outcome: 'prevented', transaction_id: null });
    expect(await merchants.theirs.rows()).toEqual(before);
    const replay = await merchants.theirs.pay(1, 'theirs-to-keep');
    expect([replay.statusCode, replay.body]).toEqual([201, theirs.body]);
  });

  /**
   * The statements that a request sends, without their values. On a shared machine we cannot compare times, but we can
   * compare what is run. The queue of webhooks works in the background on connections of its own, which do not count.
   */
  async function statementsOf(request: () => Promise<unknown>): Promise<string[]> {
    const pool = (merchants.app.app.get(DataSource).driver as unknown as { master: Pool }).master;
    const seen: string[] = [];
    const client = await pool.connect();
    const prototype = Object.getPrototypeOf(client) as PoolClient;
    client.release();
    // oxlint-disable-next-line typescript/unbound-method -- `record` calls it with its own `this`
    const query = prototype.query;
    prototype.query = function record(this: PoolClient, ...args: unknown[]) {
      const [statement] = args as [string | { text?: string }];
      if (applicationOf(this) === 'hapax')
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

function applicationOf(client: PoolClient): string | undefined {
  return (client as unknown as { connectionParameters: { application_name?: string } }).connectionParameters
    .application_name;
}
