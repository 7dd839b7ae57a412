import { headers, type Msg, type NatsConnection } from '@nats-io/transport-node';
import { ClientProxyFactory, Transport, type ClientProxy } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { API_KEY, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectChargedOnce } from '../support/evidence.js';
import { describeWithNats, NatsServer } from '../support/nats-server.js';
import { TestApp } from '../support/test-app.js';

const SUBJECT = 'payments.create';
const TIMEOUT_MS = 20_000;

describeWithNats('commands from NATS', () => {
  let nats: NatsServer;
  let services: TestApp;
  let client: NatsConnection;
  let nestClient: ClientProxy;

  beforeAll(async () => {
    nats = await NatsServer.start();
    services = await TestApp.start({ COMMANDS_NATS_URL: nats.url, IDEMPOTENCY_MISSING_KEY: 'derive' });
    client = await nats.connect();
    await eventually('commands are taken', async () => (await ask('?').catch(() => null)) !== null);
  });
  afterAll(async () => {
    await client.close();
    await services.stop();
    await nats.remove();
  });

  function ask(message: object | string | Uint8Array, fields: Record<string, string> = {}): Promise<Msg> {
    const withHeaders = headers();
    for (const [name, value] of Object.entries(fields)) withHeaders.set(name, value);
    const payload =
      typeof message === 'string' || message instanceof Uint8Array ? message : JSON.stringify(message);
    return client.request(SUBJECT, payload, { timeout: TIMEOUT_MS, headers: withHeaders });
  }

  const command = (key: string, changes: Record<string, unknown> = {}) => ({
    api_key: API_KEY,
    idempotency_key: key,
    ...chargeBody(),
    ...changes,
  });

  it('get the same answer as the same request over HTTP', async () => {
    const key = newKey();
    const reply = await ask(command(key));
    const payment = reply.json<{ transaction_id: string }>();
    expect(payment).toMatchObject({ status: 'completed', amount: 1999 });
    expect(
      Object.fromEntries(
        ['Status', 'content-type', 'location', 'idempotent-replayed'].map((name) => [
          name,
          reply.headers?.get(name),
        ]),
      ),
    ).toEqual({
      Status: '201',
      'content-type': 'application/json; charset=utf-8',
      location: `/v1/payments/${payment.transaction_id}`,
      'idempotent-replayed': 'false',
    });
    const http = await services.post(chargeBody(), { key });
    expect([http.status, http.headers['idempotent-replayed'], http.text]).toEqual([
      201,
      'true',
      reply.string(),
    ]);
    await expectChargedOnce(services.evidence, key);
  });

  it('act once however often they are redelivered, at once or later, mixed with HTTP under the same key', async () => {
    const key = newKey();
    const body = chargeBody({ payment_method: 'pm_gateway_slow' });
    const over = () => ask({ ...command(key), ...body }).then((reply) => reply.string());
    const byHttp = () =>
      services.post(body, { key, headers: { prefer: 'wait=20' } }).then(({ text }) => text);
    const together = await Promise.all([over(), byHttp(), over(), byHttp(), over()]);
    const answers = new Set([...together, await over(), await byHttp()]);
    expect(answers.size).toBe(1);
    await expectChargedOnce(services.evidence, key);
  });

  it('run even if the sender does not wait for an answer', async () => {
    const key = newKey();
    client.publish(SUBJECT, JSON.stringify(command(key)));
    client.publish(SUBJECT, JSON.stringify(command(key)));
    await eventually(
      'it is charged',
      async () => (await services.evidence.payments(key))[0]?.status === 'completed',
    );
    await expectChargedOnce(services.evidence, key);
    expect(await services.evidence.payments(key)).toHaveLength(1);
  });

  it('may carry their API key in a header', async () => {
    const { api_key: _apiKey, ...message } = command(newKey());
    expect((await ask(message, { Authorization: `Bearer ${API_KEY}` })).json()).toMatchObject({
      status: 'completed',
    });
  });

  it('may come from a Nest client', async () => {
    nestClient = ClientProxyFactory.create({
      transport: Transport.NATS,
      options: { servers: [nats.url.replace('nats://', '')] },
    });
    const key = newKey();
    const send = () => firstValueFrom(nestClient.send<{ status: string }>(SUBJECT, command(key)));
    const first = await send();
    expect(first).toMatchObject({ status: 'completed', amount: 1999 });
    expect(await send()).toEqual(first);
    expect(await firstValueFrom(nestClient.send(SUBJECT, 'nonsense'))).toMatchObject({
      code: 'malformed_body',
    });
    await nestClient.close();
    await expectChargedOnce(services.evidence, key);
  });

  it.each<[string, () => object | string | Uint8Array, number, string]>([
    ['invalid JSON', () => '{"amount":', 400, 'malformed_body'],
    ['an array', () => '[1]', 400, 'malformed_body'],
    ['null', () => 'null', 400, 'malformed_body'],
    ['an empty message', () => '', 400, 'malformed_body'],
    ['invalid UTF-8', () => new Uint8Array([0x7b, 0xff, 0x7d]), 400, 'malformed_body'],
    [
      'a message that is too large',
      () => command(newKey(), { description: 'x'.repeat(70_000) }),
      413,
      'payload_too_large',
    ],
    ['no API key', () => command(newKey(), { api_key: undefined }), 401, 'unauthorized'],
    ['an unknown API key', () => command(newKey(), { api_key: 'sk_nobody_0000' }), 401, 'unauthorized'],
    ['an API key of another type', () => command(newKey(), { api_key: 7 }), 401, 'unauthorized'],
    ['no idempotency key', () => command('', { idempotency_key: undefined }), 400, 'idempotency_key_missing'],
    ['an empty idempotency key', () => command(''), 400, 'idempotency_key_invalid'],
    ['a number for a key', () => command('', { idempotency_key: 7 }), 400, 'idempotency_key_invalid'],
    ['a bad field', () => command(newKey(), { amount: -1 }), 400, 'validation_failed'],
    ['an unknown field', () => command(newKey(), { tip: 1 }), 400, 'validation_failed'],
    [
      'a card that is declined',
      () => command(newKey(), { payment_method: 'pm_card_declined' }),
      402,
      'card_declined',
    ],
    [
      'a gateway that is down',
      () => command(newKey(), { payment_method: 'pm_gateway_unavailable' }),
      503,
      'service_unavailable',
    ],
  ])('get a problem document for %s', async (_what, message, status, code) => {
    const reply = await ask(message());
    expect(reply.headers?.get('Status')).toBe(String(status));
    expect(reply.headers?.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(reply.json()).toMatchObject({ status, code, request_id: expect.any(String) });
  });

  it('get 422 when their key was used with another body', async () => {
    const key = newKey();
    await ask(command(key));
    expect((await ask(command(key, { amount: 5 }))).json()).toMatchObject({
      status: 422,
      code: 'idempotency_key_reused',
    });
    await expectChargedOnce(services.evidence, key);
  });

  it('need the scope that the route needs, and act for the merchant of their key', async () => {
    const { apiKey, merchantId } = await services.addMerchant();
    expect((await ask(command(newKey(), { api_key: apiKey }))).json()).toMatchObject({
      merchant_id: merchantId,
    });
    await services.evidence.query(`UPDATE api_keys SET scopes = '{payments:read}' WHERE merchant_id = $1`, [
      merchantId,
    ]);
    await eventually('it has lost the scope', async () => {
      const reply = await ask(command(newKey(), { api_key: apiKey }));
      return reply.json<{ code?: string }>().code === 'forbidden';
    });
  });
});

describeWithNats('a command broker that is down', () => {
  it('fails no start, and its commands are taken once it comes up and whenever it comes back', async () => {
    const nats = await NatsServer.prepare();
    const service = await TestApp.start({ COMMANDS_NATS_URL: nats.url });
    try {
      expect((await service.post()).status).toBe(201);
      for (let time = 0; time < 2; time += 1) {
        await nats.start();
        const client = await nats.connect();
        const message = JSON.stringify({ api_key: API_KEY, idempotency_key: newKey(), ...chargeBody() });
        const reply = await eventually('it is taken', () =>
          client.request(SUBJECT, message, { timeout: TIMEOUT_MS }).catch(() => null),
        );
        expect(reply.json()).toMatchObject({ status: 'completed' });
        await client.close();
        await nats.stop();
      }
    } finally {
      await service.stop();
      await nats.remove();
    }
  });

  it('does not delay the stop of the service', async () => {
    const nats = await NatsServer.prepare();
    const service = await TestApp.start({ COMMANDS_NATS_URL: nats.url, EVENTS_NATS_URL: nats.url });
    await service.post();
    const begin = performance.now();
    await service.stop();
    expect(performance.now() - begin).toBeLessThan(5_000);
    await nats.remove();
  });
});
