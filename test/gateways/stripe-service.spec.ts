import { Client } from 'pg';
import { reconcile } from '../../src/cli/reconcile.js';
import { found } from '../reconciliation/two-books.js';
import { API_KEY, charge, newKey, type Reply } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import {
  createTemporaryFolder,
  createTestDatabase,
  type TemporaryFolder,
  type TestDatabase,
} from '../support/postgres.js';
import { ServiceProcess } from '../support/service-process.js';
import { SECRET_KEY, StripeServer } from './stripe-server.js';

const CREATE = /^POST \/v1\/payment_intents$/;

/** The shipped service in its own process, with GATEWAY=stripe. */
describe('a service on Stripe', () => {
  let stripe: StripeServer;
  let database: TestDatabase;
  let folder: TemporaryFolder;
  let service: ServiceProcess;

  beforeAll(async () => {
    [stripe, database, folder] = await Promise.all([
      StripeServer.start(),
      createTestDatabase(),
      createTemporaryFolder(),
    ]);
    service = await ServiceProcess.start({
      databaseUrl: database.url,
      dataDir: folder.path,
      env: {
        GATEWAY: 'stripe',
        GATEWAY_TIMEOUT: '1s',
        IDEMPOTENCY_LEASE: '30s',
        STRIPE_SECRET_KEY: SECRET_KEY,
        STRIPE_API_BASE: stripe.url,
      },
    });
  });
  afterAll(async () => {
    await service.stop();
    await stripe.close();
    await database.drop();
    await folder.remove();
  });

  async function post(path: string, command: object): Promise<Reply> {
    const response = await fetch(`${service.baseUrl}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': newKey(),
      },
      body: JSON.stringify(command),
    });
    const text = await response.text();
    const json = JSON.parse(text) as Record<string, unknown>;
    return { status: response.status, headers: response.headers, body: text, json };
  }

  async function rows(sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  function body(changes: object = {}) {
    return { amount: 1_999, currency: 'EUR', payment_method: 'pm_card_visa', ...changes };
  }

  it('charges once, and replays the answer without asking Stripe again', async () => {
    const key = newKey();
    const first = await charge(service, key, { body: body() });
    expect([first.status, first.json['status']]).toEqual([201, 'completed']);
    const second = await charge(service, key, { body: body() });
    expect([second.status, second.body]).toEqual([201, first.body]);
    const sent = stripe.seen(CREATE);
    expect(sent).toHaveLength(1);
    const [payment] = await rows('SELECT claim_id FROM payments WHERE transaction_id = $1', [
      first.json['transaction_id'],
    ]);
    expect(sent[0]?.headers['idempotency-key']).toBe(payment?.['claim_id']);
    expect(sent[0]?.form['metadata']).toMatchObject({ idempotency_key: payment?.['claim_id'] });
    // Nothing that was drawn: after a loss, the same call must carry the same.
    expect(JSON.stringify(sent[0]?.form)).not.toContain(first.json['transaction_id']);
  });

  it('answers a decline with 402 for good', async () => {
    const key = newKey();
    const declined = body({ payment_method: 'pm_card_visa_chargeDeclinedInsufficientFunds' });
    for (let tries = 1; tries <= 2; tries += 1) {
      const reply = await charge(service, key, { body: declined });
      expect(reply.status).toBe(402);
      expect(reply.json).toMatchObject({ code: 'insufficient_funds', retry: 'new_key', effect: 'none' });
    }
    expect(stripe.seen(CREATE)).toHaveLength(2);
  });

  it('refuses an amount that Stripe cannot express, without a call', async () => {
    const before = stripe.requests.length;
    const reply = await charge(service, newKey(), { body: body({ amount: 5_124, currency: 'KWD' }) });
    expect([reply.status, reply.json['code']]).toEqual([402, 'amount_not_accepted']);
    expect(stripe.requests).toHaveLength(before);
  });

  it('captures part of an authorization, and refunds part of that', async () => {
    const authorized = await charge(service, newKey(), { body: body({ capture_method: 'manual' }) });
    expect(authorized.json['status']).toBe('authorized');
    const path = `/v1/payments/${String(authorized.json['transaction_id'])}`;
    expect((await post(`${path}/capture`, { amount: 1_500 })).json).toMatchObject({
      status: 'completed',
      amount_captured: 1_500,
    });
    const refund = await post(`${path}/refunds`, { amount: 500 });
    expect([refund.status, refund.json['status']]).toEqual([201, 'completed']);
    const [made] = [...stripe.api.refunds.values()].slice(-1);
    const [row] = await rows('SELECT claim_id FROM refunds WHERE refund_id = $1', [refund.json['refund_id']]);
    expect(made).toMatchObject({ amount: 500, metadata: { idempotency_key: row?.['claim_id'] } });
    expect(stripe.api.intents.get(made?.payment_intent ?? '')).toMatchObject({ amount_received: 1_500 });
  });

  it('retries by itself, under the same key, a call that may have happened', async () => {
    const before = stripe.api.intents.size;
    stripe.next(CREATE, { kind: 'reset_after' });
    expect((await charge(service, newKey(), { body: body() })).status).toBe(201);
    expect(stripe.api.intents.size).toBe(before + 1);
  });

  it('takes the money once when Stripe takes it and says nothing: 202, then the first effect', async () => {
    const before = stripe.api.intents.size;
    // There is time for two tries.
    stripe.next(CREATE, { kind: 'silent_after' });
    stripe.next(CREATE, { kind: 'silent_before' });
    const key = newKey();
    const first = await charge(service, key, { body: body() });
    expect([first.status, first.json['status']]).toEqual([202, 'pending']);
    expect(stripe.api.intents.size).toBe(before + 1);
    const final = await eventually('the outcome is known', async () => {
      const reply = await charge(service, key, { body: body() });
      return reply.status === 201 && reply;
    });
    expect(final.json).toMatchObject({ transaction_id: first.json['transaction_id'], status: 'completed' });
    expect(stripe.api.intents.size).toBe(before + 1);
  });

  it('answers 503 without effect while Stripe refuses everybody, and charges later with the same key', async () => {
    const before = stripe.api.intents.size;
    for (let tries = 1; tries <= 3; tries += 1) stripe.next(CREATE, { kind: 'rate_limit' });
    const key = newKey();
    const refused = await charge(service, key, { body: body() });
    expect([refused.status, refused.json['code'], refused.json['effect']]).toEqual([
      503,
      'service_unavailable',
      'none',
    ]);
    expect(stripe.api.intents.size).toBe(before);
    expect((await charge(service, key, { body: body() })).status).toBe(201);
  });

  it('has the same books as Stripe after all this, and notices changes made in the dashboard', async () => {
    const env = {
      DATABASE_URL: database.url,
      DATA_DIR: folder.path,
      SANDBOX: 'true',
      GATEWAY: 'stripe',
      STRIPE_SECRET_KEY: SECRET_KEY,
      STRIPE_API_BASE: stripe.url,
    };
    const options = { from: null, to: null, merchantId: null, openAfterMs: 0, shown: 10, repair: false };
    const agreed = await reconcile(env, options);
    expect(found(agreed)).toEqual([]);
    // All but the declined one. One of them also has a capture and a refund.
    expect(agreed.compared).toMatchObject({ effects: stripe.api.intents.size + 1 });
    expect(agreed.report.agrees).toBe(true);

    const [refunded, lost] = [...stripe.api.intents.values()].filter(
      ({ status, capture_method }) => status === 'succeeded' && capture_method === 'automatic',
    );
    stripe.api.handle('POST', '/v1/refunds', { payment_intent: refunded!.id, amount: '300' });
    lost!.status = 'requires_payment_method';
    expect(found(await reconcile(env, options))).toEqual([
      'missing here: refund not_settled',
      'missing there: charge',
    ]);
  });

  it('shows the state of Stripe in its metrics, and no secret in its log', async () => {
    const text = await (await fetch(`${service.baseUrl}/metrics`)).text();
    expect(text).toMatch(
      /hapax_gateway_call_duration_seconds_count\{gateway="stripe",kind="refund",outcome="approved"\} 1/,
    );
    expect(text).toMatch(/hapax_gateway_breaker_state\{gateway="stripe",state="closed"\} 1/);
    expect(text).toMatch(/hapax_gateway_retries_total\{gateway="stripe",kind="charge"\} [1-9]/);
    expect(service.log).not.toContain(SECRET_KEY);
  });
});
