import { RetentionWorker } from '../../src/idempotency/retention.worker.js';
import { API_KEY, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';

const UNKNOWN = '019b2f6e-0000-7000-8000-000000000000';
const URL = 'https://shop.example.com/hooks';

describe('webhook endpoints', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await TestApp.start();
  });
  afterAll(() => app.stop());

  type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';
  const call = (
    method: Method,
    path: string,
    payload?: unknown,
    key: string | null = newKey(),
    apiKey = API_KEY,
  ) =>
    app.app.inject({
      method,
      url: `/v1/webhook-${path}`,
      headers: { authorization: `Bearer ${apiKey}`, ...(key !== null && { 'idempotency-key': key }) },
      ...(payload !== undefined && { payload: payload as object }),
    });
  const create = async (payload: object = { url: URL }) => (await call('POST', 'endpoints', payload)).json();

  it('are created once per key, and every retry gets the same secret', async () => {
    const key = newKey();
    const body = { url: URL, event_types: ['refund.failed'], description: 'The shop' };
    const [first, ...others] = await Promise.all(
      Array.from({ length: 5 }, () =>
        app.app.inject({
          method: 'POST',
          url: '/v1/webhook-endpoints',
          headers: { authorization: `Bearer ${API_KEY}`, 'idempotency-key': key, prefer: 'wait=10' },
          payload: body,
        }),
      ),
    );
    expect(first!.statusCode).toBe(201);
    expect(others.map((other) => other.body)).toEqual(others.map(() => first!.body));
    const endpoint = first!.json();
    expect(endpoint).toEqual({
      webhook_endpoint_id: expect.any(String),
      url: URL,
      event_types: ['refund.failed'],
      description: 'The shop',
      enabled: true,
      disabled_reason: null,
      failing_since: null,
      previous_secret_expires_at: null,
      created_at: expect.any(String),
      updated_at: expect.any(String),
      secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
    });
    expect(first!.headers['location']).toBe(`/v1/webhook-endpoints/${endpoint.webhook_endpoint_id}`);
    const [{ count }] = (await app.evidence.query<{ count: string }>(
      'SELECT count(*) FROM webhook_endpoints WHERE idempotency_key = $1',
      [key],
    )) as [{ count: string }];
    expect(count).toBe('1');
    const other = await call('POST', 'endpoints', { url: `${URL}/2` }, key);
    expect([other.statusCode, other.json().code]).toEqual([422, 'idempotency_key_reused']);
    const looked = await app.app.inject({
      url: `/v1/idempotency-keys/${key}`,
      headers: { authorization: `Bearer ${API_KEY}` },
    });
    expect(looked.json()).toMatchObject({
      operation: 'create_webhook_endpoint',
      resource: `/v1/webhook-endpoints/${endpoint.webhook_endpoint_id}`,
    });
  });

  it('are not created twice after the stored answer is gone, and do not show their secret again', async () => {
    const forgetful = await TestApp.start({ IDEMPOTENCY_RETENTION: '1s' });
    const key = newKey();
    const send = (description: string) =>
      forgetful.app.inject({
        method: 'POST',
        url: '/v1/webhook-endpoints',
        headers: { authorization: `Bearer ${API_KEY}`, 'idempotency-key': key },
        payload: { url: URL, description },
      });
    const first = await send('one');
    await eventually('the end of the stored answer', async () => {
      await forgetful.app.get(RetentionWorker).runOnce();
      return (await forgetful.evidence.query('SELECT FROM idempotency_keys')).length === 0;
    });
    const other = await send('another');
    expect([other.statusCode, other.json().code]).toEqual([422, 'idempotency_key_reused']);
    const again = await send('one');
    expect([again.statusCode, again.headers['idempotent-replayed']]).toEqual([201, 'true']);
    expect(again.json()).toEqual({ ...first.json(), secret: null });
    await forgetful.stop();
  });

  it('need a key, a body and a scope', async () => {
    const without = await call('POST', 'endpoints', { url: URL }, null);
    expect([without.statusCode, without.json().code]).toEqual([400, 'idempotency_key_missing']);
    const { apiKey } = await app.addMerchant();
    for (const [method, path] of [
      ['POST', 'endpoints'],
      ['GET', 'endpoints'],
      ['GET', `endpoints/${UNKNOWN}`],
      ['PATCH', `endpoints/${UNKNOWN}`],
      ['DELETE', `endpoints/${UNKNOWN}`],
      ['POST', `endpoints/${UNKNOWN}/rotate-secret`],
      ['GET', `endpoints/${UNKNOWN}/deliveries`],
      ['POST', `endpoints/${UNKNOWN}/resend`],
      ['POST', `deliveries/${UNKNOWN}/retry`],
    ] as const) {
      const answer = await call(method, path, method === 'GET' ? undefined : {}, newKey(), apiKey);
      expect([method, path, answer.statusCode]).toEqual([method, path, 403]);
    }
  });

  it.each([
    ['no url', {}, 'url'],
    ['a url that is not a string', { url: 5 }, 'url'],
    ['a null url', { url: null }, 'url'],
    ['a url with NUL', { url: 'https://a.example/\0' }, 'url'],
    ['no types at all', { url: URL, event_types: [] }, 'event_types'],
    ['a type that does not exist', { url: URL, event_types: ['payment.lost'] }, 'event_types'],
    ['a type twice', { url: URL, event_types: ['refund.failed', 'refund.failed'] }, 'event_types'],
    ['types that are not a list', { url: URL, event_types: 'refund.failed' }, 'event_types'],
    ['nested types', { url: URL, event_types: [['refund.failed']] }, 'event_types'],
    ['a long description', { url: URL, description: 'x'.repeat(501) }, 'description'],
    ['a secret chosen by the client', { url: URL, secret: 'whsec_AAAA' }, 'secret'],
  ])('are refused with %s', async (_what, body, field) => {
    const answer = await call('POST', 'endpoints', body);
    expect([answer.statusCode, answer.json().errors[0].field]).toEqual([400, field]);
  });

  it('can be read and listed, newest first, without their secret', async () => {
    const made = [await create(), await create()];
    const ids = made.map(({ webhook_endpoint_id }) => webhook_endpoint_id);
    const page = (await call('GET', 'endpoints?limit=1')).json();
    expect(
      page.data.map((endpoint: { webhook_endpoint_id: string }) => endpoint.webhook_endpoint_id),
    ).toEqual([ids[1]]);
    const next = (await call('GET', `endpoints?limit=1&cursor=${page.next_cursor}`)).json();
    expect(next.data[0].webhook_endpoint_id).toBe(ids[0]);
    const { secret: _secret, ...rest } = made[0];
    expect((await call('GET', `endpoints/${ids[0]}`)).json()).toEqual(rest);
    expect(JSON.stringify([page, next])).not.toContain('whsec_');
    expect((await call('GET', 'endpoints?colour=red')).statusCode).toBe(400);
  });

  it('change only what a PATCH names', async () => {
    const {
      webhook_endpoint_id: id,
      secret: _secret,
      ...made
    } = await create({
      url: URL,
      event_types: ['refund.failed'],
      description: 'one',
    });
    const patch = async (body: object) => {
      const { updated_at: _at, ...endpoint } = (await call('PATCH', `endpoints/${id}`, body)).json();
      return endpoint;
    };
    const { updated_at: _at, ...before } = { ...made, webhook_endpoint_id: id };
    expect(await patch({})).toEqual(before);
    expect(await patch({ url: 'http://localhost:9/x' })).toEqual({ ...before, url: 'http://localhost:9/x' });
    expect(await patch({ url: URL, event_types: null, description: null })).toEqual({
      ...before,
      event_types: null,
      description: null,
    });
    expect(await patch({ enabled: false })).toMatchObject({ enabled: false, disabled_reason: 'requested' });
    expect(await patch({ description: 'two' })).toMatchObject({ enabled: false, description: 'two' });
    expect(await patch({ enabled: true })).toMatchObject({ enabled: true, disabled_reason: null });
  });

  it.each([
    ['a null url', { url: null }, 'url'],
    ['an empty url', { url: '' }, 'url'],
    ['another scheme', { url: 'file:///etc/passwd' }, 'url'],
    ['null for enabled', { enabled: null }, 'enabled'],
    ['a word instead of a boolean', { enabled: 'yes' }, 'enabled'],
    ['an unknown type', { event_types: ['x'] }, 'event_types'],
    ['an unknown field', { secret: 'whsec_AAAA' }, 'secret'],
  ])('refuse a PATCH with %s', async (_what, body, field) => {
    const { webhook_endpoint_id: id } = await create();
    const answer = await call('PATCH', `endpoints/${id}`, body);
    expect([answer.statusCode, answer.json().errors[0].field]).toEqual([400, field]);
    await call('DELETE', `endpoints/${id}`);
  });

  it.each([
    ['no start', {}, 'created_gte'],
    ['a day without a time', { created_gte: '2026-01-01' }, 'created_gte'],
    ['a null end', { created_gte: '2026-01-01T00:00:00Z', created_lt: null }, 'created_lt'],
    ['a foreign cursor', { created_gte: '2026-01-01T00:00:00Z', cursor: 'AAAA' }, 'cursor'],
    [
      'a word instead of a boolean',
      { created_gte: '2026-01-01T00:00:00Z', only_undelivered: 'no' },
      'only_undelivered',
    ],
  ])('refuse to resend a range with %s', async (_what, body, field) => {
    const { webhook_endpoint_id: id } = await create();
    const answer = await call('POST', `endpoints/${id}/resend`, body);
    expect([answer.statusCode, answer.json().errors[0].field]).toEqual([400, field]);
    await call('DELETE', `endpoints/${id}`);
  });

  it('get a new secret once per key, and no retry ends the overlap', async () => {
    const { webhook_endpoint_id: id, secret } = await create();
    const key = newKey();
    const first = await call('POST', `endpoints/${id}/rotate-secret`, undefined, key);
    const retry = await call('POST', `endpoints/${id}/rotate-secret`, {}, key);
    expect([first.statusCode, first.json().secret === secret]).toEqual([200, false]);
    expect(retry.body).toBe(first.body);
    const [row] = await app.evidence.query<{ secret: string; previous_secret: string }>(
      'SELECT secret, previous_secret FROM webhook_endpoints WHERE webhook_endpoint_id = $1',
      [id],
    );
    expect(row).toEqual({ secret: first.json().secret, previous_secret: secret });
    const expiresInMs = Date.parse(first.json().previous_secret_expires_at) - Date.now();
    expect(expiresInMs).toBeGreaterThan(23.9 * 3_600_000);
    await call('DELETE', `endpoints/${id}`);
  });

  it('are gone once deleted, and so is their secret', async () => {
    const { webhook_endpoint_id: id, secret } = await create();
    expect((await call('DELETE', `endpoints/${id}`)).statusCode).toBe(204);
    for (const [method, path] of [
      ['GET', `endpoints/${id}`],
      ['PATCH', `endpoints/${id}`],
      ['DELETE', `endpoints/${id}`],
      ['POST', `endpoints/${id}/rotate-secret`],
      ['GET', `endpoints/${id}/deliveries`],
    ] as const) {
      const answer = await call(method, path, method === 'PATCH' ? {} : undefined);
      expect([method, answer.statusCode, answer.json().code]).toEqual([method, 404, 'not_found']);
    }
    const rows = await app.evidence.query('SELECT FROM webhook_endpoints WHERE secret = $1', [secret]);
    expect(rows).toEqual([]);
  });

  it('are limited to twenty per merchant, even when more are created at once', async () => {
    for (const { webhook_endpoint_id: id } of (await call('GET', 'endpoints?limit=100')).json().data) {
      await call('DELETE', `endpoints/${id}`);
    }
    const answers = await Promise.all(
      Array.from({ length: 23 }, () => call('POST', 'endpoints', { url: URL })),
    );
    const codes = answers.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b);
    expect(codes).toEqual([...Array<number>(20).fill(201), 409, 409, 409]);
    expect(answers.find(({ statusCode }) => statusCode === 409)!.json().code).toBe('webhook_endpoint_limit');
  });

  it.each(['not-an-id', UNKNOWN, '%00', 'x'.repeat(300)])('that do not exist are 404: %s', async (id) => {
    for (const path of [`endpoints/${id}`, `endpoints/${id}/deliveries`]) {
      expect((await call('GET', path)).statusCode).toBe(404);
    }
    expect((await call('POST', `deliveries/${id}/retry`)).statusCode).toBe(404);
  });
});
