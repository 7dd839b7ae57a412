import { randomBytes, randomUUID } from 'node:crypto';
import { SandboxGatewayHost } from '../../src/gateways/sandbox/sandbox-gateway.host.js';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';
import { NotificationRetentionWorker } from '../../src/provider-notifications/notification-retention.worker.js';
import { get } from '../support/api.js';
import { charge, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectChargedOnce, type PaymentRow } from '../support/evidence.js';
import {
  countNotifications,
  notification,
  sendNotification,
  signed,
  type Notification,
} from '../support/notifications.js';
import { TestApp } from '../support/test-app.js';
import { script } from '../gateways/sandbox-fixture.js';

const AFTER = chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' });
const BEFORE = chargeBody({ payment_method: 'pm_gateway_timeout_before_charge' });

describe("the payment provider's notifications", () => {
  let service: TestApp;
  let baseUrl: string;

  beforeAll(async () => {
    service = await TestApp.start({
      IDEMPOTENCY_LEASE: '60s',
      GATEWAY_TIMEOUT: '1s',
      RATE_LIMIT: '1000/s',
    });
    baseUrl = (await service.app.getUrl()).replace('[::1]', '127.0.0.1');
    // From here on, only a notification makes recovery run.
    await service.app.get(RecoveryWorker)['rounds'].stop();
  });
  afterEach(() => engine().play(null));
  afterAll(() => service.stop());

  const engine = () => service.app.get(SandboxGatewayHost).engine!;
  const send = (told: Notification, headers?: Record<string, string>) =>
    sendNotification(baseUrl, told, headers);

  /** A charge with an unknown outcome. */
  async function unknownCharge(body = AFTER): Promise<{ key: string; payment: PaymentRow }> {
    const key = newKey();
    expect(await charge({ baseUrl }, key, { body })).toMatchObject({ status: 202 });
    return { key, payment: await paymentOf(key) };
  }

  async function paymentOf(key: string): Promise<PaymentRow> {
    const [payment] = await service.evidence.payments(key);
    return payment!;
  }

  /** A notification that names a call like the provider: by its gateway key. */
  const about = ({ claim_id }: PaymentRow): Notification =>
    notification({ idempotency_key: claim_id, charge_idempotency_key: claim_id });

  const ended = (key: string) =>
    eventually('the payment has ended', async () => (await paymentOf(key)).status !== 'pending');
  const attempts = async (key: string) => (await service.evidence.claim(key))?.attempt;
  const rows = ({ id }: Notification) =>
    service.evidence.query('SELECT type FROM gateway_notifications WHERE event_id = $1', [id]);

  it('resolve a call with an unknown outcome at once, and without one it stays unknown', async () => {
    const [told, other, refused] = await Promise.all([
      unknownCharge(),
      unknownCharge(),
      unknownCharge(BEFORE),
    ]);
    expect(await send(about(told.payment))).toMatchObject({ status: 204 });
    expect(await send(about(refused.payment))).toMatchObject({ status: 204 });
    await Promise.all([ended(told.key), ended(refused.key)]);
    await expectChargedOnce(service.evidence, told.key);
    expect(await paymentOf(refused.key)).toMatchObject({ status: 'failed' });
    expect([await attempts(told.key), await attempts(other.key)]).toEqual([2, 1]);
    expect(await paymentOf(other.key)).toMatchObject({ status: 'pending' });
  });

  it('act once, however often and however concurrently each is sent', async () => {
    // The provider cannot be asked, so the outcome stays unknown, and a second action would be noticed.
    engine().play(script({ lookups: { faults: { error: 1 } } }));
    const { key, payment } = await unknownCharge();
    const told = about(payment);
    const before = await countNotifications(baseUrl);
    const answers = await Promise.all(Array.from({ length: 25 }, () => send(told)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([204]));
    await eventually('it has acted', async () => (await attempts(key)) === 2 && (await isWaiting(key)));
    await send(told);
    await send(told);
    expect(await rows(told)).toHaveLength(1);
    const counted = await countNotifications(baseUrl);
    expect(counted['hastened']).toBe((before['hastened'] ?? 0) + 1);
    expect(counted['duplicate']).toBe((before['duplicate'] ?? 0) + 26);
    expect(await attempts(key)).toBe(2);

    // Control: another event acts again.
    await send(about(payment));
    await eventually('it has acted again', async () => (await attempts(key)) === 3);
  });

  /** Whether the lease is over. */
  async function isWaiting(key: string): Promise<boolean> {
    const [claim] = await service.evidence.query<{ waiting: boolean }>(
      `SELECT lease_expires_at <= clock_timestamp() AS waiting
       FROM idempotency_keys WHERE idempotency_key = $1`,
      [key],
    );
    return claim?.waiting === true;
  }

  it('are not lost if they come before our own call ends unknown', async () => {
    const key = newKey();
    const calling = charge({ baseUrl }, key, { body: AFTER });
    await eventually('the money has moved', async () => (await service.evidence.effects(key)).length > 0);
    const told = about(await paymentOf(key));
    expect(await send(told)).toMatchObject({ status: 204 });
    expect(await calling).toMatchObject({ status: 202, json: { status: 'pending' } });
    await ended(key);
    await expectChargedOnce(service.evidence, key);
    // The test proves something only in this order.
    expect(
      await service.evidence.query(
        `SELECT n.received_at < k.unknown_since AS earlier FROM gateway_notifications n, idempotency_keys k
         WHERE n.event_id = $1 AND k.idempotency_key = $2`,
        [told.id, key],
      ),
    ).toEqual([{ earlier: true }]);
    expect(await attempts(key)).toBe(2);
  });

  it('change nothing if they come before our own call ends well', async () => {
    engine().play(script({ latency_ms: 300 }));
    const key = newKey();
    const calling = charge({ baseUrl }, key);
    await eventually('the money has moved', async () => (await service.evidence.effects(key)).length > 0);
    expect(await send(about(await paymentOf(key)))).toMatchObject({ status: 204 });
    expect(await calling).toMatchObject({ status: 201, json: { status: 'completed' } });
    await expectChargedOnce(service.evidence, key);
    expect(await attempts(key)).toBe(1);
  });

  it('do not cause more inquiries if they are older than the attempt', async () => {
    engine().play(script({ lookups: { faults: { error: 1 } } }));
    const { key, payment } = await unknownCharge();
    await send(about(payment));
    await eventually('it was asked for once', async () => (await attempts(key)) === 2);
    await eventually('and waits', () => isWaiting(key));
    expect(await attempts(key)).toBe(2);
  });

  it('work out of order, and what they claim is not believed', async () => {
    const key = newKey();
    const body = chargeBody({ payment_method: 'pm_gateway_timeout_after_charge', capture_method: 'manual' });
    await charge({ baseUrl }, key, { body });
    const { transaction_id } = await paymentOf(key);
    const refund_id = randomUUID();
    const lies: Notification[] = [
      notification({ transaction_id, refund_id, status: 'approved' }, 'refund.completed'),
      notification({ transaction_id, status: 'approved', amount: 1 }, 'capture.completed'),
      notification({ transaction_id, status: 'declined' }, 'authorization.failed'),
      notification({ transaction_id, status: 'approved' }, 'void.completed'),
    ];
    for (const lie of lies) expect(await send(lie)).toMatchObject({ status: 204 });
    await ended(key);
    expect(await paymentOf(key)).toMatchObject({ status: 'authorized', amount_captured: '0' });
    expect(await service.evidence.effects(key)).toMatchObject([{ kind: 'authorization' }]);
  });

  it('resolve many at once, more than recovery takes over in one go', async () => {
    // Without many successful charges, the circuit breaker would hold the others back.
    await Promise.all(Array.from({ length: 80 }, () => charge({ baseUrl }, newKey())));
    const charges = await Promise.all(Array.from({ length: 30 }, () => unknownCharge()));
    await Promise.all(charges.map(({ payment }) => send(about(payment))));
    await Promise.all(charges.map(({ key }) => ended(key)));
    for (const { key } of charges) expect(await attempts(key)).toBe(2);
  });

  it.each<[string, object]>([
    ['a payment that is not ours', { transaction_id: '019b2f6e-0000-7000-8000-000000000000' }],
    ['a refund that is not ours', { refund_id: '019b2f6e-0000-7000-8000-000000000001' }],
    ['an invalid id', { transaction_id: 'order-1' }],
    ['an id of another type', { transaction_id: 17, refund_id: ['x'] }],
    ['nothing', {}],
  ])('about %s are accepted and change nothing', async (_what, data) => {
    const before = await state();
    expect(await send(notification(data))).toMatchObject({ status: 204 });
    expect(await state()).toEqual(before);
  });

  const state = () =>
    service.evidence.query(
      `SELECT k::text AS row FROM idempotency_keys k UNION ALL SELECT p::text FROM payments p ORDER BY 1`,
    );

  describe('are refused', () => {
    const valid = () => notification({ transaction_id: randomUUID() });
    const MINUTES = 60_000;

    it.each<[string, (told: Notification) => Record<string, string>]>([
      ['another secret', (told) => signed(told, { secret: `whsec_${randomBytes(32).toString('base64')}` })],
      ['a changed byte', (told) => signed({ ...told, body: told.body.replace('charge', 'Charge') })],
      ['a byte more', (told) => signed({ ...told, body: `${told.body} ` })],
      ['another event id', (told) => ({ ...signed(told), 'webhook-id': 'evt_other' })],
      ['a time long ago', (told) => signed(told, { at: new Date(Date.now() - 6 * MINUTES) })],
      ['a time to come', (told) => signed(told, { at: new Date(Date.now() + 6 * MINUTES) })],
      ['another time', (told) => ({ ...signed(told), 'webhook-timestamp': String(Date.now() / 1_000 - 9) })],
      ['a time that is none', (told) => ({ ...signed(told), 'webhook-timestamp': 'yesterday' })],
      ['no headers', () => ({})],
      ...['webhook-id', 'webhook-timestamp', 'webhook-signature'].map(
        (name): [string, (told: Notification) => Record<string, string>] => [
          `no ${name}`,
          (told) => Object.fromEntries(Object.entries(signed(told)).filter(([header]) => header !== name)),
        ],
      ),
      ['a signature without a version', (told) => ({ ...signed(told), 'webhook-signature': 'v1' })],
      ['a signature of nothing', (told) => ({ ...signed(told), 'webhook-signature': 'v1,' })],
      ['a signature of another kind', (told) => ({ ...signed(told), 'webhook-signature': 'v1a,AAAA' })],
    ])('with %s', async (_what, headersOf) => {
      const told = valid();
      const answer = await send(told, headersOf(told));
      expect([answer.status, answer.code]).toEqual([400, 'notification_signature_invalid']);
      expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(await rows(told)).toEqual([]);
    });

    it.each<[string, string, number, string]>([
      ['that is empty', '', 400, 'malformed_body'],
      ['that is no JSON', '{"type":', 400, 'malformed_body'],
      ['that is no object', '"charge.completed"', 400, 'malformed_body'],
      ['that is null', 'null', 400, 'malformed_body'],
      ['without a type', '{"data":{}}', 400, 'malformed_body'],
      ['with a type that no column holds', '{"type":"\\u0000"}', 400, 'malformed_body'],
      ['with an endless type', JSON.stringify({ type: 'x'.repeat(256) }), 400, 'malformed_body'],
      ['of a deep nest', `${'['.repeat(30_000)}${']'.repeat(30_000)}`, 400, 'malformed_body'],
      ['over the limit', JSON.stringify({ type: 'x', data: 'y'.repeat(70_000) }), 413, 'payload_too_large'],
    ])('with a signed body %s', async (_what, body, status, code) => {
      const answer = await send({ id: `evt_${randomUUID()}`, body });
      expect([answer.status, answer.code]).toEqual([status, code]);
    });

    it('with an event id that fits no column, even if it is signed', async () => {
      const told = { ...valid(), id: 'x'.repeat(256) };
      expect(await send(told)).toMatchObject({ status: 400, code: 'malformed_body' });
    });

    it('with bytes that are not UTF-8, even if they decode to the signed text', async () => {
      const told = valid();
      const text = told.body.replace('}', ',"x":"\ufffd"}');
      const bytes = Buffer.from(text).toString('latin1').replace('\xef\xbf\xbd', '\xff');
      const response = await fetch(`${baseUrl}/v1/gateways/sandbox/notifications`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...signed({ id: told.id, body: text }) },
        body: Buffer.from(bytes, 'latin1'),
      });
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([
        400,
        'notification_signature_invalid',
      ]);
    });

    it.each(['text/plain', 'application/x-www-form-urlencoded', 'nonsense'])(
      'as Content-Type %s',
      async (type) => {
        const told = valid();
        const answer = await send(told, { ...signed(told), 'content-type': type });
        expect([answer.status, answer.code]).toEqual([415, 'unsupported_media_type']);
      },
    );

    it.each(['stripe', 'unconfigured', 'x', '%00', '..%2fsandbox'])('of gateway %s', async (gateway) => {
      const told = valid();
      const path = `/v1/gateways/${gateway}/notifications`;
      const answer = await sendNotification(baseUrl, told, signed(told), path);
      expect([answer.status, answer.code]).toEqual([404, 'not_found']);
    });

    it('without rate-limiting valid ones or the API, however many are forged', async () => {
      const forged = valid();
      for (let n = 0; n < 120; n += 1) await send(forged, {});
      expect(await send(valid())).toMatchObject({ status: 204 });
      expect(await get({ baseUrl }, '/v1/payments')).toMatchObject({ status: 200 });
      expect(await get({ baseUrl }, '/v1/payments', 'no key')).toMatchObject({ status: 401 });
      expect((await countNotifications(baseUrl))['refused']).toBeGreaterThan(120);
    });
  });

  it('are deleted when no provider resends them any more, and not before', async () => {
    const insert = (age: string) =>
      service.evidence.query(
        `INSERT INTO gateway_notifications (gateway, event_id, type, resource_id, received_at)
         VALUES ('sandbox', $1::text, 'x', $2, clock_timestamp() - $1::text::interval)`,
        [age, randomUUID()],
      );
    await Promise.all([insert('32 days'), insert('30 days')]);
    await service.app.get(NotificationRetentionWorker).runOnce();
    expect(
      await service.evidence.query(
        `SELECT event_id FROM gateway_notifications WHERE event_id IN ('32 days', '30 days')`,
      ),
    ).toEqual([{ event_id: '30 days' }]);
  });
});
