import { post } from '../support/api.js';
import { chargeBody, newKey, SLOW } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';

const LEASE_MS = 60_000;

describe('GET /v1/idempotency-keys/{key}', () => {
  let service: TestApp;

  beforeAll(async () => {
    service = await TestApp.start();
  });
  afterAll(() => service.stop());

  const read = (key: string, apiKey?: string) =>
    service.get(`/v1/idempotency-keys/${encodeURIComponent(key)}`, apiKey);

  it('says in_progress while the first request runs, and completed with its answer afterwards', async () => {
    const key = newKey();
    const first = service.post(SLOW, { key }).then((reply) => reply);
    await eventually('it is at the gateway', async () => (await service.evidence.effects(key)).length > 0);
    const [payment] = await service.evidence.payments(key);
    const running = await read(key);
    expect(running.status).toBe(200);
    expect(running.body).toEqual({
      idempotency_key: key,
      state: 'in_progress',
      operation: 'charge',
      resource: `/v1/payments/${payment?.transaction_id}`,
      response_status: null,
      attempts: 1,
      running: true,
      running_until: expect.any(String),
      first_seen_at: expect.any(String),
      expires_at: null,
    });
    const leaseMs = Date.parse(running.body.running_until) - Date.parse(running.body.first_seen_at);
    expect(leaseMs).toBeGreaterThanOrEqual(LEASE_MS - 1);
    expect((await service.get(running.body.resource)).body).toMatchObject({ status: 'pending' });

    const answer = await first;
    const done = await read(key);
    expect(done.body).toEqual({
      ...running.body,
      state: 'completed',
      resource: answer.headers['location'],
      response_status: 201,
      running: false,
      running_until: null,
      expires_at: expect.any(String),
    });
    const lifetimeMs = Date.parse(done.body.expires_at) - Date.parse(done.body.first_seen_at);
    expect(lifetimeMs).toBeGreaterThan(24 * 3_600_000);
  });

  it('says completed with 402 for a decline', async () => {
    const key = newKey();
    const answer = await service.post(chargeBody({ payment_method: 'pm_card_expired' }), { key });
    expect((await read(key)).body).toMatchObject({
      state: 'completed',
      response_status: 402,
      resource: `/v1/payments/${answer.body.transaction_id}`,
    });
  });

  it('says released, with no resource, when the last try had no effect', async () => {
    const key = newKey();
    await service.post(chargeBody({ payment_method: 'pm_gateway_unavailable' }), { key });
    expect((await read(key)).body).toMatchObject({
      state: 'released',
      resource: null,
      response_status: null,
      attempts: 1,
      running: false,
    });
  });

  it('counts the attempts', async () => {
    const key = newKey();
    for (const attempts of [1, 2, 3]) {
      await service.post(chargeBody({ payment_method: 'pm_gateway_unavailable' }), { key });
      expect((await read(key)).body).toMatchObject({ state: 'released', attempts });
    }
  });

  it('shows until when a lost process keeps the key, and that nobody does once its lease is over', async () => {
    const key = newKey();
    await service.post(chargeBody(), { key });
    const lease = (interval: string) =>
      service.evidence.query<{ until: Date }>(
        `UPDATE idempotency_keys SET status = 'in_progress', expires_at = NULL, response_status = NULL,
           recover_after = 'infinity', attempt = 7, lease_expires_at = clock_timestamp() + $2::interval
         WHERE idempotency_key = $1 RETURNING lease_expires_at AS until`,
        [key, interval],
      );
    const [held] = await lease('1 hour');
    expect((await read(key)).body).toMatchObject({
      attempts: 7,
      running: true,
      running_until: held!.until.toISOString(),
    });
    await lease('-1 ms');
    expect((await read(key)).body).toMatchObject({ attempts: 7, running: false, running_until: null });
  });

  it('says expired, with the payment that it made, when its stored answer is gone', async () => {
    const key = newKey();
    const answer = await service.post(chargeBody(), { key });
    await service.evidence.query('DELETE FROM idempotency_keys WHERE idempotency_key = $1', [key]);
    expect((await read(key)).body).toEqual({
      idempotency_key: key,
      state: 'expired',
      operation: 'charge',
      resource: answer.headers['location'],
      response_status: null,
      attempts: null,
      running: false,
      running_until: null,
      first_seen_at: answer.body.created_at,
      expires_at: null,
    });
  });

  it('says expired for a refund and for a reversal, too', async () => {
    const paid = await service.post(chargeBody());
    for (const [operation, path, body] of [
      ['refund', `/v1/payments/${paid.body.transaction_id}/refunds`, { amount: 1 }],
      ['reversal', '/v1/reversals', { idempotency_key: newKey() }],
    ] as const) {
      const key = newKey();
      const reply = await post({ baseUrl: await service.app.getUrl() }, path, { key, body });
      await service.evidence.query('DELETE FROM idempotency_keys WHERE idempotency_key = $1', [key]);
      expect((await read(key)).body).toMatchObject({
        state: 'expired',
        operation,
        resource: reply.headers.get('location'),
        first_seen_at: reply.json['created_at'],
      });
    }
  });

  it('names no refund if the payment did not allow one', async () => {
    const paid = await service.post(chargeBody());
    const key = newKey();
    const path = `/v1/payments/${paid.body.transaction_id}/refunds`;
    expect(
      await post({ baseUrl: await service.app.getUrl() }, path, { key, body: { amount: 999_999 } }),
    ).toMatchObject({ status: 409 });
    expect((await read(key)).body).toMatchObject({
      state: 'completed',
      response_status: 409,
      resource: null,
    });
  });

  it('finds a key in either form, with any character that a key may have', async () => {
    const key = `${newKey()}/?#%&"\\`;
    await service.post(chargeBody(), { key });
    expect((await read(key)).body).toMatchObject({ idempotency_key: key, state: 'completed' });
    const quoted = `"${key.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
    expect((await read(quoted)).body).toMatchObject({ idempotency_key: key, state: 'completed' });
  });

  it('finds nothing for an unused key, or one that only another merchant used', async () => {
    const key = newKey();
    await service.post(chargeBody(), { key });
    const { apiKey } = await service.addMerchant();
    for (const reply of [await read(newKey()), await read(key, apiKey)]) {
      expect(reply.status).toBe(404);
      expect(reply.body).toMatchObject({ code: 'not_found' });
    }
  });

  it('refuses what cannot be a key', async () => {
    for (const key of ['a b', 'ü', '"open', 'k'.repeat(256)]) {
      const reply = await read(key);
      expect(reply.status).toBe(400);
      expect(reply.body).toMatchObject({ code: 'idempotency_key_invalid' });
    }
  });
});
