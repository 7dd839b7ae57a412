import { PipelinedTransactions } from '../../src/database/pipelined-transactions.js';
import { SandboxGatewayHost } from '../../src/gateways/sandbox/sandbox-gateway.host.js';
import { RestoresStore } from '../../src/idempotency/restores.store.js';
import { script } from '../gateways/sandbox-fixture.js';
import { SECRET_KEY, StripeServer } from '../gateways/stripe-server.js';
import { AUTOMATIC, MANUAL, post } from '../support/api.js';
import { newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';

const HOUR_MS = 3_600_000;
const CREATE = /^POST \/v1\/payment_intents$/;
/** A loss that goes back further than Stripe remembers its keys. */
const LOST_SINCE = new Date(Date.now() - 25 * HOUR_MS);

const targetOf = async ({ app }: TestApp) => ({
  baseUrl: (await app.getUrl()).replace('[::1]', '127.0.0.1'),
});
const restoresOf = ({ app }: TestApp) => new RestoresStore(app.get(PipelinedTransactions));

/** Says what `npm run cli -- restored` says. */
const restored = (service: TestApp, since = LOST_SINCE) => restoresOf(service).begin(since, HOUR_MS);

/**
 * Two services with databases of their own, and with one merchant, namespace and account: the second is the first after
 * its database has lost all that it knew.
 */
describe('after a loss, when Stripe has forgotten its keys as well', () => {
  let stripe: StripeServer;
  let before: TestApp;
  let after: TestApp;

  beforeAll(async () => {
    stripe = await StripeServer.start();
    const env = {
      GATEWAY: 'stripe',
      GATEWAY_TIMEOUT: '1s',
      GATEWAY_TRIES: '1',
      STRIPE_SECRET_KEY: SECRET_KEY,
      STRIPE_API_BASE: stripe.url,
    };
    [before, after] = await Promise.all([TestApp.start(env), TestApp.start(env)]);
  });
  afterEach(() => restoresOf(after).end());
  afterAll(async () => {
    await Promise.all([before.stop(), after.stop()]);
    await stripe.close();
  });

  const send = async (service: TestApp, path: string, key: string, body: object) =>
    post(await targetOf(service), path, { key, body });
  const charge = (service: TestApp, key: string, body: object = AUTOMATIC) =>
    send(service, '/v1/payments', key, body);

  /** What the first database knew, and the second has to be told again. */
  async function forgotten(
    body: object = AUTOMATIC,
  ): Promise<{ key: string; intents: number; path: string }> {
    const key = newKey();
    const { json } = await charge(before, key, body);
    stripe.forgetKeys();
    return { key, intents: stripe.api.intents.size, path: `/v1/payments/${String(json['transaction_id'])}` };
  }

  it('control: without a word from the operator, a forgotten charge is made again', async () => {
    const { key, intents } = await forgotten();
    expect(await charge(after, key)).toMatchObject({ status: 201 });
    expect(stripe.api.intents.size).toBe(intents + 1);
  });

  it('a forgotten charge is looked up, and answered as it was', async () => {
    const { key, intents } = await forgotten();
    await restored(after);
    expect(await charge(after, key)).toMatchObject({ status: 201, json: { status: 'completed' } });
    const declined = { ...AUTOMATIC, payment_method: 'pm_card_visa_chargeDeclined' };
    const refused = await forgotten(declined);
    expect(await charge(after, refused.key, declined)).toMatchObject({ status: 402 });
    expect(stripe.api.intents.size).toBe(intents + 1);
  });

  it('forgotten refunds, captures and cancels are looked up as well', async () => {
    await restored(after);
    const calls = [
      ['capture', MANUAL, { amount: 700 }],
      ['cancel', MANUAL, {}],
      ['refunds', AUTOMATIC, { amount: 300 }],
    ] as const;
    for (const [call, body, command] of calls) {
      const { key, path } = await forgotten(body);
      const laterKey = newKey();
      const first = await send(before, `${path}/${call}`, laterKey, command);
      const refunds = stripe.api.refunds.size;
      stripe.forgetKeys();
      const { json } = await charge(after, key, body);
      const again = await send(
        after,
        `/v1/payments/${String(json['transaction_id'])}/${call}`,
        laterKey,
        command,
      );
      expect([again.status, again.json['status']]).toEqual([first.status, first.json['status']]);
      expect(stripe.api.refunds.size).toBe(refunds);
    }
  });

  it('a new charge is looked up, not found, and sent', async () => {
    await restored(after);
    const { size } = stripe.api.intents;
    const sent = stripe.seen(/search$/).length;
    expect(await charge(after, newKey())).toMatchObject({ status: 201 });
    expect(stripe.api.intents.size).toBe(size + 1);
    expect(stripe.seen(/search$/)).toHaveLength(sent + 1);
  });

  it('nothing is sent, and nothing is called without effect, while it cannot be looked up', async () => {
    const { key, intents } = await forgotten();
    await restored(after);
    stripe.next(/search$/, { kind: 'reset_before' });
    const sent = stripe.seen(CREATE).length;
    expect(await charge(after, key)).toMatchObject({ status: 202, json: { status: 'pending' } });
    expect(stripe.seen(CREATE)).toHaveLength(sent);
    const final = await eventually('it was looked up', async () => {
      const reply = await charge(after, key);
      return reply.status === 201 && reply;
    });
    expect(final.json).toMatchObject({ status: 'completed' });
    expect(stripe.api.intents.size).toBe(intents);
  });

  it('a reversal does not say that a payment never happened, until the restore has ended', async () => {
    await restored(after);
    const [key, reversed] = [newKey(), newKey()];
    const reverse = () => send(after, '/v1/reversals', key, { idempotency_key: reversed });
    expect(await reverse()).toMatchObject({ status: 202, json: { status: 'pending' } });
    await restoresOf(after).end();
    const final = await eventually('it has ended', async () => {
      const reply = await reverse();
      return reply.status === 201 && reply;
    });
    expect(final.json).toMatchObject({ outcome: 'prevented' });
  });

  it('a restore ends by itself', async () => {
    const { key, intents } = await forgotten();
    await restoresOf(after).begin(LOST_SINCE, 1);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await charge(after, key)).toMatchObject({ status: 201 });
    expect(stripe.api.intents.size).toBe(intents + 1);
  });
});

describe('after a loss, with the sandbox', () => {
  it('a call waits while it cannot be looked up, and the lookup closes no key', async () => {
    const service = await TestApp.start();
    try {
      const target = await targetOf(service);
      const engine = service.app.get(SandboxGatewayHost).engine!;
      await restored(service);
      engine.play(script({ lookups: { faults: { error: 1 } } }));
      const key = newKey();
      const charge = () => post(target, '/v1/payments', { key, body: AUTOMATIC });
      expect(await charge()).toMatchObject({ status: 202 });
      expect(await service.evidence.effects(key)).toEqual([]);
      engine.play(null);
      expect(await charge()).toMatchObject({ status: 201, json: { status: 'completed' } });
      expect(await service.evidence.effects(key)).toHaveLength(1);
    } finally {
      await service.stop();
    }
  });
});
