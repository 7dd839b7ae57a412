import type { ServerResponse } from 'node:http';
import { Webhook } from 'standardwebhooks';
import { API_KEY, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';
import { createEndpoint, emit, hurry, newEvents, OK, Receiver, status } from '../support/webhooks.js';

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

describe('an endpoint changed while a try is under way', () => {
  let app: TestApp;
  let receiver: Receiver;

  beforeAll(async () => {
    app = await TestApp.start();
    receiver = await Receiver.start();
  });
  afterAll(async () => {
    await app.stop();
    await receiver.stop();
  });

  const call = (method: Method, path: string, payload?: object) =>
    app.app.inject({
      method,
      url: `/v1/webhook-endpoints/${path}`,
      headers: { authorization: `Bearer ${API_KEY}`, 'idempotency-key': newKey() },
      ...(payload && { payload }),
    });

  /** Creates an endpoint, starts a try there and returns the response that the try waits for. */
  async function tryUnderWay(path: string) {
    const held = Promise.withResolvers<ServerResponse>();
    receiver.answer = (response, received) => {
      if (received.path === path) held.resolve(response);
      else OK(response, received);
    };
    const { webhook_endpoint_id: id, secret } = await createEndpoint(app, { url: receiver.url(path) });
    await emit(app, newEvents(1));
    return { id, secret, response: await held.promise };
  }

  const statusOf = async (endpointId: string) => {
    const [row] = await app.evidence.query<{ status: string }>(
      'SELECT status FROM webhook_deliveries WHERE webhook_endpoint_id = $1',
      [endpointId],
    );
    return row?.status;
  };

  it('keeps its new URL enabled when the old one answers 410, and gets the event there', async () => {
    const { id, response } = await tryUnderWay('/moved-from');
    await call('PATCH', id, { url: receiver.url('/moved-to') });
    response.writeHead(410).end();
    await eventually('the event at the new address', () => receiver.at('/moved-to').length > 0);
    await eventually('its end', async () => (await statusOf(id)) === 'delivered');
    expect((await call('GET', id)).json()).toMatchObject({ enabled: true, disabled_reason: null });
    expect(receiver.at('/moved-from')).toHaveLength(1);
    await call('DELETE', id);
  });

  it('does not make its new URL wait for the Retry-After of the old one', async () => {
    const { id, response } = await tryUnderWay('/busy-from');
    await call('PATCH', id, { url: receiver.url('/busy-to') });
    response.writeHead(429, { 'retry-after': '3600' }).end();
    await eventually('the try is recorded', async () => {
      const [row] = await app.evidence.query<{ tries: number }>(
        'SELECT tries FROM webhook_deliveries WHERE webhook_endpoint_id = $1',
        [id],
      );
      return row!.tries === 1;
    });
    await emit(app, newEvents(1));
    await eventually('another event', () => receiver.at('/busy-to').length > 0);
    expect((await call('GET', id)).json()).toMatchObject({ failing_since: null });
    await call('DELETE', id);
  });

  it('gets no further try once it is disabled', async () => {
    const { id, response } = await tryUnderWay('/disabled');
    await call('PATCH', id, { enabled: false });
    response.writeHead(500).end();
    await eventually('the next turn', async () => {
      await hurry(app, id);
      return (await statusOf(id)) === 'canceled';
    });
    expect(receiver.at('/disabled')).toHaveLength(1);
  });

  it('lets the try finish when it is deleted, and gets nothing more', async () => {
    const { id, response } = await tryUnderWay('/deleted');
    expect((await call('DELETE', id)).statusCode).toBe(204);
    response.writeHead(204).end();
    await eventually('its end', async () => (await statusOf(id)) === 'delivered');
    await emit(app, newEvents(1));
    expect((await call('GET', id)).statusCode).toBe(404);
    const rows = await app.evidence.query('SELECT FROM webhook_deliveries WHERE webhook_endpoint_id = $1', [
      id,
    ]);
    expect(rows).toHaveLength(1);
  });

  it('gets the next try signed with both secrets after a rotation', async () => {
    const { id, secret, response } = await tryUnderWay('/rotated');
    const rotated = (await call('POST', `${id}/rotate-secret`)).json();
    receiver.answer = OK;
    status(500)(response, receiver.at('/rotated')[0]!);
    await eventually('another try', async () => {
      await hurry(app, id);
      return receiver.at('/rotated').length === 2;
    });
    const [, { body, headers }] = receiver.at('/rotated') as [unknown, (typeof receiver.received)[0]];
    for (const by of [secret, rotated.secret]) {
      expect(new Webhook(by).verify(body, headers as Record<string, string>)).toBeTruthy();
    }
  });
});
