import { Webhook } from 'standardwebhooks';
import { WebhookRetentionWorker } from '../../src/webhooks/delivery/webhook-retention.worker.js';
import { eventually } from '../support/eventually.js';
import {
  createEndpoint,
  emit,
  hurry,
  newEvents,
  OK,
  Receiver,
  status,
  type Received,
} from '../support/webhooks.js';
import { WebhooksFixture } from './webhooks-fixture.js';

describe('a delivery', () => {
  let webhooks: WebhooksFixture;
  let firstRetry: Promise<number>;

  beforeAll(async () => {
    webhooks = await WebhooksFixture.start();
    firstRetry = pauseBeforeFirstRetry();
  });
  beforeEach(() => (webhooks.receiver.answer = OK));
  afterAll(() => webhooks.stop());

  /** Returns the time between the first and the second try under the default schedule. */
  async function pauseBeforeFirstRetry(): Promise<number> {
    const own = await Receiver.start(status(500));
    const { webhook_endpoint_id } = await createEndpoint(webhooks.app, {
      url: own.url(),
      event_types: ['payment.canceled'],
    });
    await emit(webhooks.app, newEvents(1, { type: 'payment.canceled' }));
    await eventually('two tries', () => own.received.length >= 2);
    await webhooks.call('DELETE', `/v1/webhook-endpoints/${webhook_endpoint_id}`);
    await own.stop();
    return own.received[1]!.atMs - own.received[0]!.atMs;
  }

  it('is a POST of the event that the official library verifies', async () => {
    const { secret, event, delivery } = await webhooks.send('/verified');
    const received = webhooks.receiver.at('/verified').find(({ id }) => id === event.eventId) as Received;
    const message = new Webhook(secret).verify(received.body, received.headers as Record<string, string>);
    expect(message).toEqual({
      type: 'payment.completed',
      timestamp: event.createdAt.toISOString(),
      data: {
        event_id: event.eventId,
        type: 'payment.completed',
        transaction_id: event.transactionId,
        sequence: 1,
        created_at: event.createdAt.toISOString(),
        data: JSON.parse(event.resource),
      },
    });
    expect(received.id).toBe(event.eventId);
    expect(delivery).toMatchObject({ status: 'delivered', next_try_at: null });
    expect(delivery.tries).toEqual([
      expect.objectContaining({ response_status: 204, response_body: '', error: null }),
    ]);
    expect(() => new Webhook(secret).verify(`${received.body} `, received.headers as never)).toThrow(
      'No matching signature found',
    );
  });

  it('goes out with the same id and the same bytes at every try', async () => {
    webhooks.receiver.answer = status(500, {}, 'try later');
    const { delivery, endpointId } = await webhooks.send('/again');
    expect(delivery).toMatchObject({
      status: 'pending',
      tries: [{ response_status: 500, response_body: 'try later' }],
    });
    webhooks.receiver.answer = OK;
    await hurry(webhooks.app, endpointId);
    await eventually('another try', () => webhooks.receiver.at('/again').length === 2);
    const [first, second] = webhooks.receiver.at('/again') as [Received, Received];
    expect(second.body).toBe(first.body);
    expect(second.id).toBe(first.id);
  });

  it('is signed with both secrets after a rotation, until the overlap ends', async () => {
    const { secret, webhook_endpoint_id: id } = await webhooks.endpointAt('/rotated');
    const rotated = await webhooks.call('POST', `/v1/webhook-endpoints/${id}/rotate-secret`);
    expect(rotated.statusCode).toBe(200);
    const verifies = (by: string, received: Received) => {
      try {
        return Boolean(new Webhook(by).verify(received.body, received.headers as Record<string, string>));
      } catch {
        return false;
      }
    };
    const next = async (count: number) => {
      await emit(webhooks.app, newEvents(1));
      return eventually('a delivery', () => webhooks.receiver.at('/rotated')[count]);
    };
    const during = await next(0);
    expect([verifies(secret, during), verifies(rotated.json().secret, during)]).toEqual([true, true]);
    await webhooks.app.evidence.query(
      `UPDATE webhook_endpoints SET previous_secret_expires_at = now() WHERE webhook_endpoint_id = $1`,
      [id],
    );
    const after = await next(1);
    expect([verifies(secret, after), verifies(rotated.json().secret, after)]).toEqual([false, true]);
  });

  it.each([
    ['a redirect, which is not followed', status(307, { location: '/elsewhere' }), 307, null],
    ['a 404', status(404), 404, null],
    [
      'an answer that is cut off before it begins',
      (response: { destroy(): void }) => response.destroy(),
      null,
      'ECONNRESET',
    ],
    ['no answer in time', () => undefined, null, 'timeout'],
  ])('fails with %s, and is tried again', async (what, answer, code, error) => {
    webhooks.receiver.answer = answer;
    const path = `/fails-${what.length}`;
    const { delivery, endpointId } = await webhooks.send(path);
    expect(delivery).toMatchObject({ status: 'pending', next_try_at: expect.any(String) });
    expect(delivery.tries[0]).toMatchObject({ response_status: code, error });
    expect(webhooks.receiver.at('/elsewhere')).toEqual([]);
    await webhooks.call('DELETE', `/v1/webhook-endpoints/${endpointId}`);
  });

  it('is not held up by an endless body, and keeps its first kilobyte', async () => {
    webhooks.receiver.answer = (response) => {
      response.writeHead(200);
      const flood = () => {
        while (!response.destroyed && response.write('é'.repeat(5_000)));
      };
      response.on('drain', flood);
      flood();
    };
    const { delivery } = await webhooks.send('/flood');
    expect(delivery).toMatchObject({ status: 'delivered', tries: [{ response_status: 200 }] });
    expect(delivery.tries[0]!.response_body).toBe('é'.repeat(512));
    expect(delivery.tries[0]!.duration_ms).toBeLessThan(1_500);
  });

  it('counts as delivered by its status, even if the body never ends', async () => {
    webhooks.receiver.answer = (response) => void response.writeHead(200).write('\0begun');
    const { delivery } = await webhooks.send('/stuck-body');
    expect(delivery).toMatchObject({
      status: 'delivered',
      tries: [{ response_status: 200, response_body: '\uFFFDbegun' }],
    });
  });

  it('disables an endpoint that answers 410, and sends it nothing more', async () => {
    webhooks.receiver.answer = status(410);
    const { endpointId, delivery } = await webhooks.send('/gone');
    await eventually(
      'its end',
      async () => (await webhooks.deliveriesOf(endpointId))[0]?.status === 'canceled',
    );
    expect(webhooks.receiver.at('/gone')).toHaveLength(1);
    const { enabled, disabled_reason } = (
      await webhooks.call('GET', `/v1/webhook-endpoints/${endpointId}`)
    ).json();
    expect({ enabled, disabled_reason }).toEqual({ enabled: false, disabled_reason: 'gone' });
    await emit(webhooks.app, newEvents(1));
    expect(await webhooks.deliveriesOf(endpointId)).toHaveLength(1);
    const retry = await webhooks.call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    expect([retry.statusCode, retry.json().code]).toEqual([409, 'webhook_endpoint_disabled']);
  });

  it('holds back all events of an endpoint for as long as its Retry-After asks', async () => {
    webhooks.receiver.answer = status(429, { 'retry-after': '120' });
    const { endpointId, delivery } = await webhooks.send('/busy');
    const waitsMs = Date.parse(delivery.next_try_at!) - Date.now();
    expect(waitsMs).toBeGreaterThan(110_000);
    expect(waitsMs).toBeLessThan(135_000);
    await emit(webhooks.app, newEvents(1));
    const other = await eventually('its turn', async () => {
      const [newest] = await webhooks.deliveriesOf(endpointId);
      return Date.parse(newest!.next_try_at!) > Date.now() + 60_000 && newest;
    });
    expect(other.tries_count).toBe(0);
    expect(webhooks.receiver.at('/busy')).toHaveLength(1);
    await webhooks.call('DELETE', `/v1/webhook-endpoints/${endpointId}`);
  });

  it('is not sent to an endpoint that does not want its type, nor after the endpoint is deleted', async () => {
    const { webhook_endpoint_id: unwanted } = await webhooks.endpointAt('/unwanted', {
      event_types: ['refund.failed'],
    });
    webhooks.receiver.answer = status(500);
    const { endpointId, delivery } = await webhooks.send('/deleted');
    expect(delivery.status).toBe('pending');
    expect((await webhooks.call('DELETE', `/v1/webhook-endpoints/${endpointId}`)).statusCode).toBe(204);
    await hurry(webhooks.app, endpointId);
    await emit(webhooks.app, newEvents(1));
    await eventually('the end of what waited', async () => {
      const rows = await webhooks.app.evidence.query<{ status: string }>(
        'SELECT status FROM webhook_deliveries WHERE webhook_endpoint_id = $1',
        [endpointId],
      );
      return rows.length === 1 && rows[0]!.status === 'canceled';
    });
    expect(webhooks.receiver.at('/deleted')).toHaveLength(1);
    expect(await webhooks.deliveriesOf(unwanted)).toEqual([]);
    const gone = await webhooks.call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    expect(gone.statusCode).toBe(404);
  });

  it('leaves no job behind, and no row after its retention', async () => {
    const { endpointId } = await webhooks.send('/old');
    await eventually('the end of its job', async () => {
      const [row] = await webhooks.app.evidence.query<{ count: string }>(
        `SELECT count(*) FROM pgboss.job j JOIN webhook_deliveries d ON d.webhook_delivery_id = (j.data->>'webhookDeliveryId')::uuid
         WHERE d.webhook_endpoint_id = $1`,
        [endpointId],
      );
      return row!.count === '0';
    });
    await webhooks.app.evidence.query(
      `UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE webhook_endpoint_id = $1`,
      [endpointId],
    );
    const kept = await webhooks.app.evidence.query(
      'SELECT FROM webhook_deliveries WHERE webhook_endpoint_id <> $1',
      [endpointId],
    );
    await webhooks.app.app.get(WebhookRetentionWorker).runOnce();
    expect(await webhooks.deliveriesOf(endpointId)).toEqual([]);
    expect(await webhooks.app.evidence.query('SELECT FROM webhook_deliveries')).toHaveLength(kept.length);
  });

  it('is tried again after five seconds in the sandbox', async () => {
    const pauseMs = await firstRetry;
    expect(pauseMs).toBeGreaterThanOrEqual(5_000);
    expect(pauseMs).toBeLessThan(9_000);
  });
});
