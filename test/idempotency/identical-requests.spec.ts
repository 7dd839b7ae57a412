import { Writable } from 'node:stream';
import { jest } from '@jest/globals';
import { pino } from 'pino';
import supertest, { type Response } from 'supertest';
import { createApp } from '../../src/app.js';
import { OperationRunner } from '../../src/idempotency/operation.runner.js';
import { Metrics } from '../../src/metrics/metrics.js';
import { Clock } from '../../src/time/clock.js';
import { API_KEY, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectChargedOnce } from '../support/evidence.js';
import { type SendOptions, TestApp } from '../support/test-app.js';

const BODY = JSON.stringify(chargeBody());
const DECLINED = JSON.stringify(chargeBody({ payment_method: 'pm_card_declined' }));
const AUTHORIZED = chargeBody({ capture_method: 'manual' });
/** Such a request is never taken for another, so it shows what the whole way answers. */
const WHOLE_WAY = { 'content-encoding': 'identity' };
const A_DAY_MS = 86_400_000;

describe('a request that was answered before, byte for byte', () => {
  const lines: Record<string, unknown>[] = [];
  let service: TestApp;
  let run: jest.SpiedFunction<OperationRunner['run']>;

  beforeAll(async () => {
    const log = new Writable({
      write(chunk: Buffer, _encoding, done) {
        lines.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
        done();
      },
    });
    service = await TestApp.start({ RATE_LIMIT: '100000/h' }, (config, databaseUrl) =>
      createApp(config, databaseUrl, pino(log)),
    );
    run = jest.spyOn(service.app.get(OperationRunner), 'run');
  });
  afterAll(() => service.stop());

  async function goesTheWholeWay(send: () => PromiseLike<Response>): Promise<Response> {
    run.mockClear();
    const response = await send();
    expect(run).toHaveBeenCalledTimes(1);
    return response;
  }

  /** The API key is forgotten each second, and then one request goes the whole way. */
  function isAnsweredAtOnce(send: () => PromiseLike<Response>): Promise<Response> {
    return eventually('an answer without the runner', async () => {
      run.mockClear();
      const response = await send();
      return run.mock.calls.length === 0 && response;
    });
  }

  it.each([
    ['a success', BODY, 201, {}],
    ['a stored refusal', DECLINED, 402, {}],
    ['a preference', BODY, 201, { prefer: 'wait=5', origin: 'https://shop.test' }],
  ])('gets %s again, header for header as the whole way gives it', async (_what, body, status, headers) => {
    const key = newKey();
    const first = await service.post(body, { key, headers });
    expect([first.status, first.headers['idempotent-replayed']]).toEqual([status, 'false']);
    const whole = await goesTheWholeWay(() =>
      service.post(body, { key, headers: { ...headers, ...WHOLE_WAY } }),
    );
    expect(whole.headers['idempotent-replayed']).toBe('true');
    const again = await isAnsweredAtOnce(() => service.post(body, { key, headers }));
    expect([again.status, again.text]).toEqual([whole.status, whole.text]);
    expect(comparable(again)).toEqual(comparable(whole));
    expect(again.headers['x-request-id']).not.toBe(whole.headers['x-request-id']);
    expect(remaining(again)).toBeLessThan(remaining(whole));
  });

  it('is counted and logged like any other replay', async () => {
    const key = newKey();
    await service.post(BODY, { key });
    const before = await replays();
    const again = await isAnsweredAtOnce(() => service.post(BODY, { key }));
    expect(await replays()).toBeGreaterThan(before);
    const whole = await goesTheWholeWay(() => service.post(BODY, { key, headers: WHOLE_WAY }));
    expect(lineOf(again)).toEqual(lineOf(whole));
    expect(lineOf(again)).toMatchObject({ method: 'POST', route: '/v1/payments', status: 201 });
  });

  it('may have no body', async () => {
    const payment = await service.post(AUTHORIZED);
    const cancel = withoutBody(`/v1/payments/${String(payment.body.transaction_id)}/cancel`);
    const first = await cancel();
    expect(first.status).toBe(200);
    expect((await isAnsweredAtOnce(cancel)).text).toBe(first.text);
  });

  it('may quote its key', async () => {
    const key = newKey();
    const first = await service.post(BODY, { key });
    const again = await isAnsweredAtOnce(() => service.post(BODY, { key: `"${key}"` }));
    expect(again.text).toBe(first.text);
  });

  it.each<[string, number, string, SendOptions, string?]>([
    ['another body', 422, 'idempotency_key_reused', {}, JSON.stringify(chargeBody({ amount: 2_000 }))],
    ['a body that is no JSON', 400, 'malformed_body', {}, `${BODY}}`],
    ['another type', 415, 'unsupported_media_type', { headers: { 'content-type': 'text/plain' } }],
    ['an empty type', 415, 'unsupported_media_type', { headers: { 'content-type': '' } }],
    ['no API key', 401, 'unauthorized', { headers: { authorization: '' } }],
    ['an unknown API key', 401, 'unauthorized', { apiKey: 'sk_nobody_has_this' }],
    ['no key', 400, 'idempotency_key_missing', { headers: { 'idempotency-key': '' } }],
  ])('is refused with %s: %d %s', async (what, status, code, options, body = BODY) => {
    const key = newKey();
    await service.post(BODY, { key });
    await isAnsweredAtOnce(() => service.post(BODY, { key }));
    const request = service.post(body, { key, ...options });
    if (what === 'no key') request.unset('idempotency-key');
    const refused = await request;
    expect([refused.status, refused.body.code]).toEqual([status, code]);
    await expectChargedOnce(service.evidence, key);
  });

  it('is refused if its key is sent twice', async () => {
    const key = newKey();
    await service.post(BODY, { key });
    await isAnsweredAtOnce(() => service.post(BODY, { key }));
    const { statusCode, json } = await service.app.inject({
      method: 'POST',
      url: '/v1/payments',
      headers: {
        authorization: `Bearer ${API_KEY}`,
        'content-type': 'application/json',
        'idempotency-key': [key, key],
      },
      payload: BODY,
    });
    expect([statusCode, json().code]).toEqual([400, 'idempotency_key_invalid']);
  });

  it.each<[string, string, SendOptions]>([
    ['white space', BODY.replace(',', ', '), {}],
    ['the order of its members', reversed(BODY), {}],
    ['a Content-Type parameter', BODY, { headers: { 'content-type': 'application/json; charset=utf-8' } }],
  ])('is compared by its fingerprint if it differs in %s', async (_what, body, options) => {
    const key = newKey();
    const first = await service.post(BODY, { key });
    const again = await goesTheWholeWay(() => service.post(body, { key, ...options }));
    expect([again.text, again.headers['idempotent-replayed']]).toEqual([first.text, 'true']);
  });

  it('is compared by its fingerprint at another address', async () => {
    const key = newKey();
    const first = await service.post(BODY, { key });
    const again = await goesTheWholeWay(() => service.post(BODY, { key }).query({ try: '2' }));
    expect(again.text).toBe(first.text);
  });

  it('gets nothing of another merchant’s', async () => {
    const { apiKey } = await service.addMerchant();
    const key = newKey();
    const ours = await service.post(BODY, { key });
    await isAnsweredAtOnce(() => service.post(BODY, { key }));
    const theirs = await goesTheWholeWay(() => service.post(BODY, { key, apiKey }));
    expect([theirs.status, theirs.headers['idempotent-replayed']]).toEqual([201, 'false']);
    expect((await isAnsweredAtOnce(() => service.post(BODY, { key, apiKey }))).text).toBe(theirs.text);
    expect((await isAnsweredAtOnce(() => service.post(BODY, { key }))).text).toBe(ours.text);
  });

  it('is refused with an API key of its merchant that lacks the scope', async () => {
    const { apiKey, merchantId } = await service.addMerchant();
    const key = newKey();
    await service.post(BODY, { key, apiKey });
    await service.evidence.query(`UPDATE api_keys SET scopes = '{payments:read}' WHERE merchant_id = $1`, [
      merchantId,
    ]);
    const refused = await eventually('the scope to be gone', async () => {
      const response = await service.post(BODY, { key, apiKey });
      return response.status !== 201 && response;
    });
    // The API key is cached by now.
    for (const response of [refused, await service.post(BODY, { key, apiKey })]) {
      expect([response.status, response.body.code]).toEqual([403, 'forbidden']);
    }
  });

  it('goes the whole way once its answer’s lifetime is over', async () => {
    const key = newKey();
    await service.post(BODY, { key });
    await isAnsweredAtOnce(() => service.post(BODY, { key }));
    const later = jest.spyOn(service.app.get(Clock), 'now').mockReturnValue(new Date(Date.now() + A_DAY_MS));
    await goesTheWholeWay(() => service.post(BODY, { key }));
    expect(later).toHaveBeenCalled();
    later.mockRestore();
    await expectChargedOnce(service.evidence, key);
  });

  function withoutBody(path: string): () => PromiseLike<Response> {
    const key = newKey();
    return () =>
      supertest(service.app.getHttpServer())
        .post(path)
        .set({ authorization: `Bearer ${API_KEY}`, 'idempotency-key': key });
  }

  async function replays(): Promise<number> {
    const text = await service.app.get(Metrics).registry.metrics();
    return Number(/^hapax_idempotent_replays_total\{source="memory"\} (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  function lineOf(response: Response): Record<string, unknown> | undefined {
    const line = lines.find(({ request_id }) => request_id === response.headers['x-request-id']);
    return line && { ...line, time: undefined, duration_ms: undefined, request_id: undefined };
  }
});

it('is counted against the rate limit of its API key, and refused beyond it', async () => {
  const service = await TestApp.start({ RATE_LIMIT: '5/h' });
  try {
    const key = newKey();
    const statuses: number[] = [];
    for (let tries = 0; tries < 7; tries += 1) statuses.push((await service.post(BODY, { key })).status);
    expect(statuses).toEqual([201, 201, 201, 201, 201, 429, 429]);
  } finally {
    await service.stop();
  }
});

/** All headers but those that belong to one answer, and the rate limit's without its count. */
function comparable({ headers }: Response): Record<string, string> {
  const { date: _date, 'x-request-id': _id, ratelimit = '', ...others } = headers as Record<string, string>;
  return { ...others, ratelimit: ratelimit.replace(/\d+/g, 'n') };
}

function remaining({ headers }: Response): number {
  return Number(/r=(\d+)/.exec(String(headers['ratelimit']))?.[1]);
}

function reversed(json: string): string {
  return JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(json) as object).toReversed()));
}
