import { Webhook } from 'standardwebhooks';
import { API_KEY } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';
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
import { WebhookRetentionWorker } from '../../src/webhooks/delivery/webhook-retention.worker.js';

interface TryJson {
  response_status: number | null;
  response_body: string | null;
  error: string | null;
  duration_ms: number;
}

interface DeliveryJson {
  webhook_delivery_id: string;
  event_id: string;
  status: string;
  next_try_at: string | null;
  tries_count: number;
  tries: TryJson[];
}

describe('a delivery', () => {
  let app: TestApp;
  let receiver: Receiver;
  let firstRetry: Promise<number>;

  beforeAll(async () => {
    app = await TestApp.start({ WEBHOOK_TIMEOUT: '1500ms' });
    receiver = await Receiver.start();
    firstRetry = pauseBeforeFirstRetry();
  });
  afterAll(async () => {
    await app.stop();
    await receiver.stop();
  });
  beforeEach(() => (receiver.answer = OK));

  const call = async (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, payload?: object) => {
    const headers = { authorization: `Bearer ${API_KEY}`, 'idempotency-key': crypto.randomUUID() };
    return app.app.inject({ method, url, headers, ...(payload && { payload }) });
  };
  const deliveriesOf = async (endpointId: string): Promise<DeliveryJson[]> =>
    (await call('GET', `/v1/webhook-endpoints/${endpointId}/deliveries`)).json().data;
  const endpointAt = async (path: string, body: object = {}) =>
    createEndpoint(app, { url: receiver.url(path), ...body });

  /** Sends one event to a new endpoint and waits for the first try. */
  async function send(path: string) {
    const { webhook_endpoint_id: endpointId, secret } = await endpointAt(path);
    const [event] = newEvents(1);
    await emit(app, [event!]);
    const delivery = await eventually('a try', async () => {
      const [found] = await deliveriesOf(endpointId);
      return found !== undefined && found.tries_count > 0 && found;
    });
    return { endpointId, secret, event: event!, delivery };
  }

  /** Returns the time between the first and the second try under the default schedule. */
  async function pauseBeforeFirstRetry(): Promise<number> {
    const own = await Receiver.start(status(500));
    const { webhook_endpoint_id } = await createEndpoint(app, {
      url: own.url(),
      event_types: ['payment.canceled'],
    });
    await emit(app, newEvents(1, { type: 'payment.canceled' }));
    await eventually('two tries', () => own.received.length >= 2);
    await call('DELETE', `/v1/webhook-endpoints/${webhook_endpoint_id}`);
    await own.stop();
    return own.received[1]!.atMs - own.received[0]!.atMs;
  }

  it('is a POST of the event that the official library verifies', async () => {
    const { secret, event, delivery } = await send('/verified');
    const received = receiver.at('/verified').find(({ id }) => id === event.eventId) as Received;
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
    receiver.answer = status(500, {}, 'try later');
    const { delivery, endpointId } = await send('/again');
    expect(delivery).toMatchObject({
      status: 'pending',
      tries: [{ response_status: 500, response_body: 'try later' }],
    });
    receiver.answer = OK;
    await hurry(app, endpointId);
    await eventually('another try', () => receiver.at('/again').length === 2);
    const [first, second] = receiver.at('/again') as [Received, Received];
    expect(second.body).toBe(first.body);
    expect(second.id).toBe(first.id);
  });

  it('is signed with both secrets after a rotation, until the overlap ends', async () => {
    const { secret, webhook_endpoint_id: id } = await endpointAt('/rotated');
    const rotated = await call('POST', `/v1/webhook-endpoints/${id}/rotate-secret`);
    expect(rotated.statusCode).toBe(200);
    const verifies = (by: string, received: Received) => {
      try {
        return Boolean(new Webhook(by).verify(received.body, received.headers as Record<string, string>));
      } catch {
        return false;
      }
    };
    const next = async (count: number) => {
      await emit(app, newEvents(1));
      return eventually('a delivery', () => receiver.at('/rotated')[count]);
    };
    const during = await next(0);
    expect([verifies(secret, during), verifies(rotated.json().secret, during)]).toEqual([true, true]);
    await app.evidence.query(
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
    receiver.answer = answer;
    const path = `/fails-${what.length}`;
    const { delivery, endpointId } = await send(path);
    expect(delivery).toMatchObject({ status: 'pending', next_try_at: expect.any(String) });
    expect(delivery.tries[0]).toMatchObject({ response_status: code, error });
    expect(receiver.at('/elsewhere')).toEqual([]);
    await call('DELETE', `/v1/webhook-endpoints/${endpointId}`);
  });

  it('is not held up by an endless body, and keeps its first kilobyte', async () => {
    receiver.answer = (response) => {
      response.writeHead(200);
      const flood = () => {
        while (!response.destroyed && response.write('é'.repeat(5_000)));
      };
      response.on('drain', flood);
      flood();
    };
    const { delivery } = await send('/flood');
    expect(delivery).toMatchObject({ status: 'delivered', tries: [{ response_status: 200 }] });
    expect(delivery.tries[0]!.response_body).toBe('é'.repeat(512));
    expect(delivery.tries[0]!.duration_ms).toBeLessThan(1_500);
  });

  it('counts as delivered by its status, even if the body never ends', async () => {
    receiver.answer = (response) => void response.writeHead(200).write('\0begun');
    const { delivery } = await send('/stuck-body');
    expect(delivery).toMatchObject({
      status: 'delivered',
      tries: [{ response_status: 200, response_body: '\uFFFDbegun' }],
    });
  });

  it('disables an endpoint that answers 410, and sends it nothing more', async () => {
    receiver.answer = status(410);
    const { endpointId, delivery } = await send('/gone');
    await eventually('its end', async () => (await deliveriesOf(endpointId))[0]?.status === 'canceled');
    expect(receiver.at('/gone')).toHaveLength(1);
    const { enabled, disabled_reason } = (await call('GET', `/v1/webhook-endpoints/${endpointId}`)).json();
    expect({ enabled, disabled_reason }).toEqual({ enabled: false, disabled_reason: 'gone' });
    await emit(app, newEvents(1));
    expect(await deliveriesOf(endpointId)).toHaveLength(1);
    const retry = await call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    expect([retry.statusCode, retry.json().code]).toEqual([409, 'webhook_endpoint_disabled']);
  });

  it('holds back all events of an endpoint for as long as its Retry-After asks', async () => {
    receiver.answer = status(429, { 'retry-after': '120' });
    const { endpointId, delivery } = await send('/busy');
    const waitsMs = Date.parse(delivery.next_try_at!) - Date.now();
    expect(waitsMs).toBeGreaterThan(110_000);
    expect(waitsMs).toBeLessThan(135_000);
    await emit(app, newEvents(1));
    const other = await eventually('its turn', async () => {
      const [newest] = await deliveriesOf(endpointId);
      return Date.parse(newest!.next_try_at!) > Date.now() + 60_000 && newest;
    });
    expect(other.tries_count).toBe(0);
    expect(receiver.at('/busy')).toHaveLength(1);
    await call('DELETE', `/v1/webhook-endpoints/${endpointId}`);
  });

  it('disables an endpoint where every try has failed for five days, and keeps its events for later', async () => {
    receiver.answer = status(500);
    const { endpointId } = await send('/dead');
    await app.evidence.query(
      `UPDATE webhook_endpoints SET failing_since = now() - interval '5 days 1 second' WHERE webhook_endpoint_id = $1`,
      [endpointId],
    );
    await hurry(app, endpointId);
    await eventually('it is disabled', async () => {
      const { disabled_reason } = (await call('GET', `/v1/webhook-endpoints/${endpointId}`)).json();
      return disabled_reason === 'failing';
    });
    const missed = newEvents(3);
    const since = missed[0]!.createdAt.toISOString();
    await emit(app, missed);
    receiver.answer = OK;
    const enabled = await call('PATCH', `/v1/webhook-endpoints/${endpointId}`, { enabled: true });
    expect(enabled.json()).toMatchObject({ enabled: true, disabled_reason: null, failing_since: null });
    const resent = await call('POST', `/v1/webhook-endpoints/${endpointId}/resend`, { created_gte: since });
    expect([resent.statusCode, resent.json()]).toEqual([202, { scheduled: 3, next_cursor: null }]);
    await eventually('all that it missed', () =>
      missed.every(({ eventId }) => receiver.at('/dead').some(({ id }) => id === eventId)),
    );
  });

  it('fails after the last pause of the schedule, and can be sent again by hand', async () => {
    receiver.answer = status(503);
    const { endpointId, delivery } = await send('/hopeless');
    await app.evidence.query('UPDATE webhook_deliveries SET pause = 9 WHERE webhook_delivery_id = $1', [
      delivery.webhook_delivery_id,
    ]);
    await hurry(app, endpointId);
    await eventually('the end', async () => (await deliveriesOf(endpointId))[0]?.status === 'failed');
    receiver.answer = OK;
    const retry = await call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    expect([retry.statusCode, retry.json().status]).toEqual([202, 'pending']);
    const done = await eventually('the last try', async () => {
      const [found] = await deliveriesOf(endpointId);
      return found?.status === 'delivered' && found;
    });
    expect(done.tries.map(({ response_status }) => response_status)).toEqual([204, 503, 503]);
    // A delivered one can be sent again, too.
    await call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    await eventually('one more', () => receiver.at('/hopeless').length === 4);
  });

  it('sends the events of a time range again: all, or only the undelivered ones', async () => {
    const { webhook_endpoint_id: id } = await endpointAt('/range', { event_types: ['payment.completed'] });
    const events = newEvents(4).map((event, index) => ({
      ...event,
      createdAt: new Date(Date.UTC(2026, 0, 1 + index)),
    }));
    // Real event ids begin with their time, so these do too.
    const dated = events.map((event) => ({ ...event, eventId: idAt(event.createdAt, event.eventId) }));
    await emit(app, dated);
    await eventually('the first time', () => receiver.at('/range').length === 4);
    const range = { created_gte: '2026-01-02T00:00:00Z', created_lt: '2026-01-04T00:00:00Z' };
    await eventually('their end', async () =>
      (await deliveriesOf(id)).every(({ status: end }) => end === 'delivered'),
    );
    const undelivered = await call('POST', `/v1/webhook-endpoints/${id}/resend`, {
      ...range,
      only_undelivered: true,
    });
    expect(undelivered.json()).toEqual({ scheduled: 0, next_cursor: null });
    const all = await call('POST', `/v1/webhook-endpoints/${id}/resend`, range);
    expect(all.json()).toEqual({ scheduled: 2, next_cursor: null });
    await eventually('the second time', () => receiver.at('/range').length === 6);
    const again = receiver
      .at('/range')
      .slice(4)
      .map((received) => received.id);
    expect(again.toSorted()).toEqual([dated[1]!.eventId, dated[2]!.eventId].toSorted());
  });

  it('is not sent to an endpoint that does not want its type, nor after the endpoint is deleted', async () => {
    const { webhook_endpoint_id: unwanted } = await endpointAt('/unwanted', {
      event_types: ['refund.failed'],
    });
    receiver.answer = status(500);
    const { endpointId, delivery } = await send('/deleted');
    expect(delivery.status).toBe('pending');
    expect((await call('DELETE', `/v1/webhook-endpoints/${endpointId}`)).statusCode).toBe(204);
    await hurry(app, endpointId);
    await emit(app, newEvents(1));
    await eventually('the end of what waited', async () => {
      const rows = await app.evidence.query<{ status: string }>(
        'SELECT status FROM webhook_deliveries WHERE webhook_endpoint_id = $1',
        [endpointId],
      );
      return rows.length === 1 && rows[0]!.status === 'canceled';
    });
    expect(receiver.at('/deleted')).toHaveLength(1);
    expect(await deliveriesOf(unwanted)).toEqual([]);
    const gone = await call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    expect(gone.statusCode).toBe(404);
  });

  it('leaves no job behind, and no row after its retention', async () => {
    const { endpointId } = await send('/old');
    await eventually('the end of its job', async () => {
      const [row] = await app.evidence.query<{ count: string }>(
        `SELECT count(*) FROM pgboss.job j JOIN webhook_deliveries d ON d.webhook_delivery_id = (j.data->>'webhookDeliveryId')::uuid
         WHERE d.webhook_endpoint_id = $1`,
        [endpointId],
      );
      return row!.count === '0';
    });
    await app.evidence.query(
      `UPDATE webhook_deliveries SET created_at = now() - interval '31 days' WHERE webhook_endpoint_id = $1`,
      [endpointId],
    );
    const kept = await app.evidence.query('SELECT FROM webhook_deliveries WHERE webhook_endpoint_id <> $1', [
      endpointId,
    ]);
    await app.app.get(WebhookRetentionWorker).runOnce();
    expect(await deliveriesOf(endpointId)).toEqual([]);
    expect(await app.evidence.query('SELECT FROM webhook_deliveries')).toHaveLength(kept.length);
  });

  it('is tried again after five seconds in the sandbox', async () => {
    const pauseMs = await firstRetry;
    expect(pauseMs).toBeGreaterThanOrEqual(5_000);
    expect(pauseMs).toBeLessThan(9_000);
  });
});

function idAt(time: Date, id: string): string {
  const hex = time.getTime().toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}${id.slice(13)}`;
}
