import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { API_KEY, chargeBody, newKey } from '../support/client.js';
import { expectChargedOnce } from '../support/evidence.js';
import { type SendOptions, TestApp } from '../support/test-app.js';

describe('a request that is refused before it is claimed', () => {
  let service: TestApp;

  beforeAll(async () => {
    service = await TestApp.start();
  });
  afterAll(() => service.stop());

  it.each<[number, string, object | string, SendOptions]>([
    [400, 'malformed_body', '{"amount":', {}],
    [400, 'malformed_body', '[1,2]', {}],
    [400, 'validation_failed', '', {}],
    [400, 'validation_failed', {}, {}],
    [400, 'validation_failed', chargeBody({ amount: 0 }), {}],
    [400, 'validation_failed', chargeBody({ amount: '1999' }), {}],
    [400, 'validation_failed', chargeBody({ amount: 19.99 }), {}],
    [400, 'validation_failed', chargeBody({ currency: 'eur' }), {}],
    [400, 'validation_failed', chargeBody({ payment_method: '4242424242424242' }), {}],
    [400, 'validation_failed', chargeBody({ description: 'nul \u0000' }), {}],
    [400, 'validation_failed', chargeBody({ surprise: true }), {}],
    [401, 'unauthorized', chargeBody(), { apiKey: 'sk_nobody_has_this' }],
    [413, 'payload_too_large', chargeBody({ description: 'x'.repeat(65_536) }), {}],
    [
      415,
      'unsupported_media_type',
      'amount=1999',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' } },
    ],
  ])(
    'with %d %s does not use up its key: the same key then accepts a good body',
    async (status, code, body, options) => {
      const key = newKey();
      const refused = await service.post(body, { ...options, key });
      expect(refused.status).toBe(status);
      expect(refused.body).toMatchObject({ code, effect: 'none' });
      expect(await service.evidence.claim(key)).toBeUndefined();

      const accepted = await service.post(chargeBody(), { key });
      expect(accepted.status).toBe(201);
      expect(accepted.headers['idempotent-replayed']).toBe('false');
      await expectChargedOnce(service.evidence, key);
    },
  );

  it('with 404, at an address that does not exist, does not use up its key', async () => {
    const key = newKey();
    const reply = await fetch(`${await baseUrl()}/v1/payment`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${API_KEY}`,
        'idempotency-key': key,
        'content-type': 'application/json',
      },
      body: JSON.stringify(chargeBody()),
    });
    expect(reply.status).toBe(404);
    expect(await service.evidence.claim(key)).toBeUndefined();
    expect((await service.post(chargeBody(), { key })).status).toBe(201);
  });

  describe('for its key', () => {
    it.each<[string, string, string[]]>([
      ['no key', 'idempotency_key_missing', []],
      ['an empty key', 'idempotency_key_invalid', ['']],
      ['an empty quoted key', 'idempotency_key_invalid', ['""']],
      ['a space', 'idempotency_key_invalid', ['two words']],
      ['a quote that is not closed', 'idempotency_key_invalid', ['"open']],
      ['a quoted key with parameters that cannot be read', 'idempotency_key_invalid', ['"key";;']],
      ['a key of 256 characters', 'idempotency_key_invalid', ['k'.repeat(256)]],
      ['a key beyond ASCII', 'idempotency_key_invalid', ['clé']],
      ['two header lines', 'idempotency_key_invalid', ['one', 'two']],
      ['the same header line twice', 'idempotency_key_invalid', ['one', 'one']],
    ])('%s is a 400 %s with a link to its explanation', async (_what, code, keys) => {
      const before = await service.evidence.query('SELECT FROM idempotency_keys');
      const { status, headers, body } = await postWithKeys(keys);
      expect(status).toBe(400);
      expect(headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(body).toMatchObject({ code, retry: 'new_key', effect: 'none' });
      expect(headers['link']).toBe(`<${String(body['type'])}>; rel="describedby"`);
      expect((await fetch(String(body['type']))).status).toBe(200);
      expect(await service.evidence.query('SELECT FROM idempotency_keys')).toHaveLength(before.length);
    });

    it('a key of 255 characters is accepted', async () => {
      const key = newKey().padEnd(255, '~');
      expect((await postWithKeys([key])).status).toBe(201);
      await expectChargedOnce(service.evidence, key);
    });
  });

  const baseUrl = async () => {
    const { port } = service.app.getHttpServer().address() as AddressInfo;
    return `http://127.0.0.1:${port}`;
  };

  /** Sends one header line per key. The usual clients would join them into one. */
  async function postWithKeys(keys: string[]) {
    return new Promise<{ status: number; headers: Record<string, unknown>; body: Record<string, unknown> }>(
      (resolve, reject) => {
        const { port } = service.app.getHttpServer().address() as AddressInfo;
        const headers = { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' };
        const post = request(
          { port, host: '127.0.0.1', path: '/v1/payments', method: 'POST', headers },
          (reply) => {
            let text = '';
            reply.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
            reply.on('end', () =>
              resolve({
                status: reply.statusCode ?? 0,
                headers: reply.headers,
                body: JSON.parse(text) as Record<string, unknown>,
              }),
            );
          },
        );
        post.on('error', reject);
        if (keys.length > 0) post.setHeader('idempotency-key', keys);
        post.end(JSON.stringify(chargeBody()));
      },
    );
  }
});
