import { randomUUID } from 'node:crypto';
import { Stripe } from 'stripe';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';
import { get, post } from '../support/api.js';
import { newKey, type Reply } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { countNotifications, sendNotification, type Notification } from '../support/notifications.js';
import { TestApp } from '../support/test-app.js';
import { SECRET_KEY, StripeServer, type Fault } from '../gateways/stripe-server.js';

const SECRET = 'whsec_localServerOfTheTests';
const PATH = '/v1/gateways/stripe/notifications';
const LOST: Fault = { kind: 'silent_after' };

/** A snapshot event in Stripe's words. */
function event(type: string, object: object): Notification {
  const id = `evt_${randomUUID().replaceAll('-', '')}`;
  const body = JSON.stringify({ id, object: 'event', type, livemode: false, data: { object } }, null, 2);
  return { id, body };
}

function header({ body }: Notification, options: { secret?: string; timestamp?: number } = {}): string {
  return Stripe.webhooks.generateTestHeaderString({ payload: body, secret: SECRET, ...options });
}

describe("Stripe's notifications", () => {
  let stripe: StripeServer;
  let service: TestApp;
  let baseUrl: string;

  beforeAll(async () => {
    stripe = await StripeServer.start();
    service = await TestApp.start({
      GATEWAY: 'stripe',
      GATEWAY_TIMEOUT: '1s',
      GATEWAY_TRIES: '1',
      IDEMPOTENCY_LEASE: '60s',
      STRIPE_SECRET_KEY: SECRET_KEY,
      STRIPE_API_BASE: stripe.url,
      STRIPE_WEBHOOK_SECRET: SECRET,
    });
    baseUrl = (await service.app.getUrl()).replace('[::1]', '127.0.0.1');
    // From here on, only a notification makes recovery run.
    await service.app.get(RecoveryWorker)['rounds'].stop();
    // A first connection that takes too long has sent nothing, so its outcome would not be unknown.
    await charge();
  });
  afterAll(async () => {
    await service.stop();
    await stripe.close();
  });

  const send = (told: Notification, headers: Record<string, string> = { 'stripe-signature': header(told) }) =>
    sendNotification(baseUrl, told, headers, PATH);

  const call = (path: string, body: object, key = newKey()): Promise<Reply> =>
    post({ baseUrl }, path, { key, body });

  const charge = (changes: object = {}) =>
    call('/v1/payments', { amount: 1_999, currency: 'EUR', payment_method: 'pm_card_visa', ...changes });

  const keyOf = async (transactionId: string): Promise<string> => {
    const [payment] = await service.evidence.query<{ claim_id: string }>(
      'SELECT claim_id FROM payments WHERE transaction_id = $1',
      [transactionId],
    );
    return payment!.claim_id;
  };

  const intentOf = async (transactionId: string) => {
    const key = await keyOf(transactionId);
    return [...stripe.api.intents.values()].find(({ metadata }) => metadata['idempotency_key'] === key)!;
  };

  const becomes = (path: string, status: string) =>
    eventually(`${path} is ${status}`, async () => {
      const { json } = await get({ baseUrl }, path);
      return json['status'] === status && json;
    });

  it('resolve a charge whose answer was lost, by its intent', async () => {
    stripe.next(/^POST \/v1\/payment_intents$/, LOST);
    const pending = await charge();
    expect(pending).toMatchObject({ status: 202, json: { status: 'pending' } });
    const id = String(pending.json['transaction_id']);
    const told = event('payment_intent.succeeded', await intentOf(id));
    const answers = await Promise.all(Array.from({ length: 5 }, () => send(told)));
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204, 204, 204]);
    expect(await becomes(`/v1/payments/${id}`, 'completed')).toMatchObject({ amount_captured: 1_999 });
    expect(await countNotifications(baseUrl, 'stripe')).toMatchObject({ hastened: 1, duplicate: 4 });
  });

  it('resolve a capture, a cancel and a refund whose answers were lost', async () => {
    const [toCapture, toCancel] = await Promise.all([
      charge({ capture_method: 'manual' }),
      charge({ capture_method: 'manual' }),
    ]);
    const captured = String(toCapture.json['transaction_id']);
    stripe.next(/\/capture$/, LOST);
    expect(await call(`/v1/payments/${captured}/capture`, {})).toMatchObject({ status: 202 });
    await send(event('payment_intent.succeeded', await intentOf(captured)));
    await becomes(`/v1/payments/${captured}`, 'completed');

    const canceled = String(toCancel.json['transaction_id']);
    stripe.next(/\/cancel$/, LOST);
    expect(await call(`/v1/payments/${canceled}/cancel`, {})).toMatchObject({ status: 202 });
    await send(event('payment_intent.canceled', await intentOf(canceled)));
    await becomes(`/v1/payments/${canceled}`, 'canceled');

    stripe.next(/^POST \/v1\/refunds$/, LOST);
    const refund = await call(`/v1/payments/${captured}/refunds`, { amount: 500 });
    expect(refund).toMatchObject({ status: 202, json: { status: 'pending' } });
    const [made] = [...stripe.api.refunds.values()].slice(-1);
    await send(event('refund.created', made!));
    await becomes(`/v1/refunds/${String(refund.json['refund_id'])}`, 'completed');
  });

  it('resolve a call by what Stripe has on record, and never by what they say', async () => {
    stripe.next(/^POST \/v1\/payment_intents$/, { kind: 'silent_before' });
    const pending = await charge();
    const id = String(pending.json['transaction_id']);
    const lie = {
      object: 'payment_intent',
      id: 'pi_lie',
      status: 'succeeded',
      metadata: { idempotency_key: await keyOf(id) },
    };
    const told = event('payment_intent.succeeded', lie);
    expect(await send(told)).toMatchObject({ status: 204 });
    // Stripe has no trace of it but might a minute later, so the outcome stays unknown and nothing is charged.
    await eventually('it was asked', async () => {
      const [claim] = await service.evidence.query<{ attempt: number; ended: boolean }>(
        `SELECT attempt, lease_expires_at <= clock_timestamp() AS ended FROM idempotency_keys WHERE resource_id = $1`,
        [id],
      );
      return claim?.attempt === 2 && claim.ended;
    });
    expect(await get({ baseUrl }, `/v1/payments/${id}`)).toMatchObject({ json: { status: 'pending' } });
  });

  it.each<[string, string, object]>([
    [
      'an intent without our metadata',
      'payment_intent.succeeded',
      { object: 'payment_intent', metadata: {} },
    ],
    [
      'an object of another kind',
      'customer.created',
      { object: 'customer', metadata: { transaction_id: randomUUID() } },
    ],
    ['nothing', 'ping', {}],
    [
      'a payment of another service',
      'payment_intent.succeeded',
      { object: 'payment_intent', metadata: { transaction_id: '17', idempotency_key: 'theirs' } },
    ],
  ])('about %s are accepted and not kept', async (_what, type, object) => {
    const told = event(type, object);
    expect(await send(told)).toMatchObject({ status: 204 });
    expect(
      await service.evidence.query('SELECT FROM gateway_notifications WHERE event_id = $1', [told.id]),
    ).toEqual([]);
  });

  const changed = (told: Notification) => ({ ...told, body: told.body.replace('ping', 'pong') });

  it.each<[string, (told: Notification) => Record<string, string>]>([
    ['another secret', (told) => ({ 'stripe-signature': header(told, { secret: 'whsec_another' }) })],
    ['a changed byte', (told) => ({ 'stripe-signature': header(changed(told)) })],
    [
      'a time long ago',
      (told) => ({ 'stripe-signature': header(told, { timestamp: Date.now() / 1_000 - 301 }) }),
    ],
    ['no header', () => ({})],
    [
      "the sandbox's headers",
      () => ({ 'webhook-id': 'x', 'webhook-timestamp': '1', 'webhook-signature': 'v1,x' }),
    ],
    ...['', 'x', 't=1', 't=1,v1', 't=1,v1=', 't=,v1=x', 't=1,v0=x', `t=1,v1=${'é'.repeat(64)}`, ',,,=,'].map(
      (value): [string, () => Record<string, string>] => [
        `the header ${JSON.stringify(value)}`,
        () => ({ 'stripe-signature': value }),
      ],
    ),
  ])('are refused with %s', async (_what, headersOf) => {
    const told = event('ping', {});
    const answer = await send(told, headersOf(told));
    expect([answer.status, answer.code]).toEqual([400, 'notification_signature_invalid']);
  });

  it.each(['', '{"id":', 'null', '[]', '{"object":"event"}', '{"id":"evt_1","type":"\\u0000"}'])(
    'are refused if the signed body is %j',
    async (body) => {
      const answer = await send({ id: '', body });
      expect([answer.status, answer.code]).toEqual([400, 'malformed_body']);
    },
  );

  it('are not accepted without a secret, nor from a gateway that is not in use', async () => {
    const told = event('ping', {});
    const path = '/v1/gateways/sandbox/notifications';
    expect(await sendNotification(baseUrl, told, {}, path)).toMatchObject({ status: 404, code: 'not_found' });
    const deaf = await TestApp.start({
      GATEWAY: 'stripe',
      STRIPE_SECRET_KEY: SECRET_KEY,
      STRIPE_API_BASE: stripe.url,
    });
    const url = (await deaf.app.getUrl()).replace('[::1]', '127.0.0.1');
    const answer = await sendNotification(url, told, { 'stripe-signature': header(told) }, PATH);
    expect([answer.status, answer.code]).toEqual([404, 'not_found']);
    await deaf.stop();
  });
});
