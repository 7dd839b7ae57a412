import { Writable } from 'node:stream';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { pino } from 'pino';
import { serializeError } from '../../src/http/logger.js';
import { createEdgeApp, failedStatement, failure } from './edge-app.js';

type Line = Record<string, unknown>;

describe('the log', () => {
  const lines: Line[] = [];
  let app: NestFastifyApplication;

  beforeAll(async () => {
    const sink = new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(JSON.parse(chunk.toString()) as Line);
        done();
      },
    });
    ({ app } = await createEdgeApp({}, pino({ serializers: { err: serializeError } }, sink)));
  });
  beforeEach(() => lines.splice(0));
  afterAll(() => app.close());

  it('has one line per request, without anything that the client sent', async () => {
    await app.inject({
      method: 'POST',
      url: '/v1/things?token=secret_query',
      headers: {
        authorization: 'Bearer secret_key',
        'idempotency-key': 'secret_intent',
        'x-request-id': 'req-1',
      },
      payload: { amount: 1, currency: 'EUR', payment_method: 'pm_secret' },
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ request_id: 'req-1', method: 'POST', route: '/v1/things', status: 201 });
    expect(lines[0]?.['duration_ms']).toBeGreaterThan(0);
    expect(JSON.stringify(lines)).not.toMatch(/secret/);
  });

  it('names routes, not addresses', async () => {
    await app.inject('/v1/things/42');
    await app.inject('/nowhere/42');
    await app.inject('/v1/things/%ff');
    expect(lines.map(({ route, status }) => [route, status])).toEqual([
      ['/v1/things/:id', 200],
      ['unmatched', 404],
      ['unmatched', 400],
    ]);
  });

  it('shows a bug with its stack, under the request id that the client got', async () => {
    failure.next = new TypeError('x is not a function');
    const answer = await app.inject('/v1/things/failure');
    const { request_id } = answer.json();
    expect(lines).toMatchObject([
      { level: 50, request_id, err: { type: 'TypeError', message: 'x is not a function' } },
      { level: 30, request_id, status: 500 },
    ]);
    expect(lines[0]).toHaveProperty(['err', 'stack'], expect.stringContaining('logging.spec'));
  });

  it('leaves out the values of a failed statement', async () => {
    failure.next = failedStatement('23505');
    await app.inject('/v1/things/failure');
    expect(JSON.stringify(lines)).not.toContain('pm_card_visa');
    expect(lines[0]).toMatchObject({ err: { code: '23505' } });
  });
});
