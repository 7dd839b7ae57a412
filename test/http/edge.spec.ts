import { connect } from 'node:net';
import { BadRequestException, ForbiddenException } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { eventually } from '../support/eventually.js';
import { createEdgeApp, failedStatement, failure, made, refused, slowness } from './edge-app.js';

const VALID = { amount: 1_000, currency: 'EUR', payment_method: 'pm_card_visa' };

describe('the HTTP edge', () => {
  let app: NestFastifyApplication;

  beforeAll(async () => {
    ({ app } = await createEdgeApp({ PUBLIC_URL: 'https://pay.test' }));
    await app.listen(0, '127.0.0.1');
  });
  afterAll(() => app.close());

  const post = (payload: string | Buffer, headers: Record<string, string> = {}) =>
    app.inject({
      method: 'POST',
      url: '/v1/things',
      headers: { 'content-type': 'application/json', ...headers },
      payload,
    });

  it('passes a valid body on as an instance of its DTO', async () => {
    const answer = await post(JSON.stringify(VALID));
    expect(answer.statusCode).toBe(201);
    expect(answer.json()).toEqual({ isThing: true, body: VALID });
  });

  it.each<[string, string | Buffer, number, string]>([
    ['broken JSON', '{"amount":', 400, 'malformed_body'],
    ['text', 'hello', 400, 'malformed_body'],
    ['an empty body', '', 400, 'validation_failed'],
    ['null', 'null', 400, 'malformed_body'],
    ['a number', '7', 400, 'malformed_body'],
    ['a string', '"x"', 400, 'malformed_body'],
    ['an array', '[]', 400, 'malformed_body'],
    ['an empty object', '{}', 400, 'validation_failed'],
    [
      'bytes that are not UTF-8',
      Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      400,
      'malformed_body',
    ],
    ['a prototype', '{"__proto__":{"amount":1}}', 400, 'malformed_body'],
    ['a nested prototype', '{"metadata":{"__proto__":{"a":"b"}}}', 400, 'malformed_body'],
    ['a constructor with a prototype', '{"constructor":{"prototype":{"a":1}}}', 400, 'malformed_body'],
    ['a constructor', '{"constructor":"x"}', 400, 'validation_failed'],
    ['a constructor object', '{"constructor":{"name":"x"}}', 400, 'validation_failed'],
    ['toString', '{"toString":1,"valueOf":2,"hasOwnProperty":3}', 400, 'validation_failed'],
    ['deep arrays', '['.repeat(30_000) + ']'.repeat(30_000), 400, 'malformed_body'],
    ['a deep field', `{"metadata":${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}}`, 400, 'validation_failed'],
    ['a deep unknown field', `{"x":${'['.repeat(30_000)}${']'.repeat(30_000)}}`, 400, 'validation_failed'],
    ['a body over the limit', `{"description":"${'x'.repeat(70_000)}"}`, 413, 'payload_too_large'],
    ['many unknown fields', JSON.stringify(Object.fromEntries(manyFields())), 400, 'validation_failed'],
  ])('refuses %s', async (_name, body, status, code) => {
    const answer = await post(body);
    expect([answer.statusCode, answer.json().code]).toEqual([status, code]);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.headers['x-request-id']).toBe(answer.json().request_id);
  });

  it('names every wrong field and what it expects, and echoes no value', async () => {
    const answer = await post(
      JSON.stringify({
        amount: 1.5,
        currency: 'eur',
        payment_method: '4242424242424242',
        surprise: 'secret',
      }),
    );
    expect(answer.json()).toMatchObject({
      type: 'https://pay.test/problems/validation_failed',
      retry: 'none',
      effect: 'none',
      errors: [
        { field: 'surprise', message: 'is not a known field' },
        { field: 'amount' },
        { field: 'currency' },
        { field: 'payment_method' },
      ],
    });
    expect(answer.body).not.toMatch(/4242|secret/);
  });

  it('says that a missing field is required', async () => {
    const { errors } = (await post(JSON.stringify({ ...VALID, amount: undefined }))).json();
    expect(errors).toEqual([{ field: 'amount', message: 'is required' }]);
  });

  it('treats a missing body as an empty object, however it is left out', async () => {
    const bodies: Record<string, string>[] = [
      {},
      { 'content-type': 'application/json' },
      { 'content-length': '0' },
    ];
    for (const headers of bodies) {
      const answer = await app.inject({ method: 'POST', url: '/v1/things', headers });
      expect(answer.statusCode).toBe(400);
      expect(answer.json().errors).toEqual(
        ['amount', 'currency', 'payment_method'].map((field) => ({ field, message: 'is required' })),
      );
      const optional = await app.inject({ method: 'POST', url: '/v1/things/1/close', headers });
      expect([optional.statusCode, optional.json()]).toEqual([201, { isThing: true, body: {} }]);
    }
    expect((await post('null')).json().code).toBe('malformed_body');
  });

  it('serves a client of HTTP/1.0, which sends no Host', async () => {
    expect(await rawRequest('GET /v1/things/1 HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('keeps its answer small when a body has thousands of unknown fields', async () => {
    const answer = await post(JSON.stringify(Object.fromEntries(manyFields())));
    expect(answer.json().errors).toHaveLength(20);
    expect(answer.body.length).toBeLessThan(5_000);
  });

  it.each([
    ['text/plain', 415],
    ['application/x-www-form-urlencoded', 415],
    ['multipart/form-data; boundary=x', 415],
    ['application/xml', 415],
    ['nonsense', 415],
    ['', 415],
    ['application/json', 201],
    ['application/json; charset=utf-8', 201],
    ['APPLICATION/JSON', 201],
  ])('answers Content-Type %p with %i', async (contentType, status) => {
    const answer = await post(JSON.stringify(VALID), { 'content-type': contentType });
    expect(answer.statusCode).toBe(status);
    expect(answer.json().code).toBe(status === 415 ? 'unsupported_media_type' : undefined);
  });

  it('refuses a body without a content type', async () => {
    const answer = await rawRequest(
      'POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 415 /);
    expect(answer).toContain('unsupported_media_type');
  });

  it.each([
    ['GET', '/nowhere', 404, 'not_found'],
    ['DELETE', '/v1/things', 404, 'not_found'],
    ['PUT', '/v1/things/1', 404, 'not_found'],
    ['GET', '/v1/things/%ff', 400, 'malformed_request'],
    ['GET', '/v1/things/%', 400, 'malformed_request'],
    ['GET', '/%c0%ae', 400, 'malformed_request'],
    ['GET', '/v1/things?limit=0', 400, 'validation_failed'],
    ['GET', '/v1/things?limit=x', 400, 'validation_failed'],
    ['GET', '/v1/things?limit=1e2', 400, 'validation_failed'],
    ['GET', '/v1/things?limit=', 400, 'validation_failed'],
    ['GET', '/v1/things?limit=1&limit=2', 400, 'validation_failed'],
    ['GET', '/v1/things?status=%00', 400, 'validation_failed'],
    ['GET', '/v1/things?unknown=1', 400, 'validation_failed'],
    ['GET', '/v1/things?__proto__=1', 400, 'validation_failed'],
    ['GET', '/v1/things?constructor=1', 400, 'validation_failed'],
  ] as const)('answers %s %s with %i %s', async (method, url, status, code) => {
    const answer = await app.inject({ method, url });
    expect([answer.statusCode, answer.json().code]).toEqual([status, code]);
    expect(answer.headers['x-request-id']).toBe(answer.json().request_id);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
  });

  it('answers 404 to a path segment over the limit', async () => {
    const answer = await app.inject(`/v1/things/${'x'.repeat(1_000)}`);
    expect([answer.statusCode, answer.json().code]).toEqual([404, 'not_found']);
  });

  it('converts digits in a query to a number', async () => {
    const answer = await app.inject('/v1/things?limit=20&status=pending');
    expect(answer.json()).toEqual({ query: { limit: 20, status: 'pending' } });
  });

  it.each<[string, unknown, number, string]>([
    ['a refusal', refused({ code: 'rate_limited', retryAfterSeconds: 3 }), 429, 'rate_limited'],
    ['a Nest exception', new ForbiddenException(), 403, 'forbidden'],
    ['another Nest exception', new BadRequestException('x'), 400, 'malformed_request'],
    [
      'a refused connection',
      Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
      503,
      'service_unavailable',
    ],
    ['a lost connection', new Error('Connection terminated unexpectedly'), 503, 'service_unavailable'],
    ['a used-up pool', new Error('timeout exceeded when trying to connect'), 503, 'service_unavailable'],
    ['a database that stops', failedStatement('57P01'), 503, 'service_unavailable'],
    ['a database without connections', failedStatement('53300'), 503, 'service_unavailable'],
    ['a deadlock', failedStatement('40P01'), 503, 'service_unavailable'],
    ['a statement that took too long', failedStatement('57014'), 503, 'service_unavailable'],
    [
      'a lock held by someone else, as the cause of another error',
      new Error('x', { cause: failedStatement('55P03') }),
      503,
      'service_unavailable',
    ],
    ['a failed statement', failedStatement('23505'), 500, 'internal_error'],
    ['a bug', new TypeError('x is not a function'), 500, 'internal_error'],
    ['a value that is not an error', 'a string', 500, 'internal_error'],
    ['nothing', undefined, 500, 'internal_error'],
  ])('answers %s with a problem', async (_name, error, status, code) => {
    failure.next = error;
    const answer = await app.inject('/v1/things/failure');
    expect([answer.statusCode, answer.json().code]).toEqual([status, code]);
    expect(answer.body).not.toMatch(/not a function|server said|pm_card/);
  });

  it('keeps a plain request id and replaces any other', async () => {
    const plain = await app.inject({ url: '/nowhere', headers: { 'x-request-id': 'abc-123_X' } });
    expect(plain.headers['x-request-id']).toBe('abc-123_X');
    for (const id of ['a b', 'x'.repeat(65), 'a\u00e9', '<script>', '']) {
      const answer = await app.inject({ url: '/nowhere', headers: { 'x-request-id': id } });
      expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    }
  });

  it('forbids caching of answers about money', async () => {
    const answer = await app.inject('/v1/things/1');
    expect(answer.headers).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    expect((await app.inject('/problems')).headers['cache-control']).toBeUndefined();
  });

  it.each([
    ['bad HTTP', 'NONSENSE\r\n\r\n', 400, 'malformed_request'],
    [
      'headers over the limit',
      `GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    [
      'a bad Content-Length',
      'POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n',
      400,
      'malformed_request',
    ],
    [
      'two lengths',
      'POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}',
      400,
      'malformed_request',
    ],
    ['no host', 'GET /v1/things/1 HTTP/1.1\r\n\r\n', 400, ''],
    ['an asterisk', 'OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 404, 'not_found'],
    [
      'a bad chunk',
      'POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
      400,
      'malformed_request',
    ],
  ])('answers %s on the socket', async (_name, request, status, code) => {
    const answer = await rawRequest(request);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain(code);
  });

  it('survives a client that hangs up in the middle of its body', async () => {
    const socket = connect(port(), '127.0.0.1');
    socket.write(
      'POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"a"',
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect((await app.inject('/v1/things/1')).statusCode).toBe(200);
  });

  it('carries out no request after a 408, even if the rest of its body arrives', async () => {
    const body = JSON.stringify({ ...VALID, description: 'too late' });
    const connection = open(head(body) + body.slice(0, 9));
    const server = app.getHttpServer();
    const { requestTimeout, headersTimeout } = server;
    Object.assign(server, { requestTimeout: 100, headersTimeout: 100 });
    await eventually('an answer', () => connection.answer().includes('"code":"request_timeout"'));
    Object.assign(server, { requestTimeout, headersTimeout });
    expect(connection.answer()).toMatch(/^HTTP\/1\.1 408 [^]*"effect":"none"/);
    connection.socket.write(body.slice(9));
    await connection.closed;
    // If the first request were carried out, it would be done before this later one.
    expect((await post(JSON.stringify({ ...VALID, description: 'in time' }))).statusCode).toBe(201);
    expect(made).toContain('in time');
    expect(made).not.toContain('too late');
  });

  it('does not answer a running request with the refusal of what was sent behind it', async () => {
    const slow = Promise.withResolvers<void>();
    slowness.ends = slow.promise;
    const body = JSON.stringify({ ...VALID, description: 'slow' });
    const connection = open(head(body) + body);
    await eventually('the request to run', () => made.includes('slow'));
    connection.socket.write('NONSENSE\r\n\r\n');
    await connection.closed;
    slow.resolve();
    expect(connection.answer()).toBe('');
  });

  function head(body: string): string {
    return (
      'POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n' +
      `content-length: ${body.length}\r\n\r\n`
    );
  }

  /** A client that can still write after the server has ended its side. */
  function open(text: string) {
    let answer = '';
    const socket = connect({ port: port(), host: '127.0.0.1', allowHalfOpen: true }, () =>
      socket.write(text),
    );
    socket.setTimeout(10_000, () => socket.destroy());
    const closed = new Promise<void>((resolve) => {
      socket.on('data', (data) => (answer += data.toString()));
      // A server that has closed resets the connection if the client writes more.
      socket.on('end', () => setTimeout(() => socket.destroy(), 200)).on('error', () => undefined);
      socket.on('close', () => resolve());
    });
    return { socket, closed, answer: () => answer };
  }

  function port(): number {
    const address = app.getHttpServer().address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    return address.port;
  }

  function rawRequest(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let answer = '';
      const socket = connect(port(), '127.0.0.1', () => socket.write(text));
      socket.setTimeout(2_000, () => socket.destroy(new Error(`no end after: ${answer}`)));
      socket.on('data', (data) => (answer += data.toString()));
      socket.on('close', () => resolve(answer)).on('error', reject);
    });
  }
});

function manyFields(): [string, number][] {
  return Array.from({ length: 3_000 }, (_, index) => [`field_${index}`, index]);
}
