import { AMOUNT, chargeBody, newKey } from '../support/client.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { TestApp } from '../support/test-app.js';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const RFC_3339_UTC = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

describe('POST /v1/payments', () => {
  let service: TestApp;

  beforeAll(async () => {
    service = await TestApp.start();
  });
  afterEach(() => expectBooksToAgree(service.evidence));
  afterAll(() => service.stop());

  it('takes the money and answers 201 with the payment and its location', async () => {
    const key = newKey();
    const user_id = '0b6b2f0e-58c8-4d64-9c0f-9d1b6a3f1c55';
    const body = chargeBody({ user_id, description: 'Order 1001 – “été”', metadata: { order_id: '1001' } });
    const reply = await service.post(body, { key });
    expect(reply.status).toBe(201);
    expect(reply.body).toEqual({
      transaction_id: expect.stringMatching(UUID_V7),
      merchant_id: '00000000-0000-7000-8000-000000000001',
      user_id,
      amount: AMOUNT,
      amount_captured: AMOUNT,
      amount_refunded: 0,
      currency: 'EUR',
      status: 'completed',
      payment_method: 'pm_card_visa',
      capture_method: 'automatic',
      description: 'Order 1001 – “été”',
      metadata: { order_id: '1001' },
      failure: null,
      created_at: expect.stringMatching(RFC_3339_UTC),
      updated_at: expect.stringMatching(RFC_3339_UTC),
    });
    expect(reply.headers).toMatchObject({
      location: `/v1/payments/${reply.body.transaction_id}`,
      'content-type': 'application/json; charset=utf-8',
      'idempotent-replayed': 'false',
    });
    expect((await service.get(reply.headers['location']!)).body).toEqual(reply.body);
    await expectChargedOnce(service.evidence, key);
  });

  it('replays byte for byte: status, body, Location and Content-Type, and no other header', async () => {
    const key = newKey();
    const first = await service.post(chargeBody(), { key, headers: { 'x-request-id': 'first' } });
    const second = await service.post(chargeBody(), { key, headers: { 'x-request-id': 'second' } });
    expect([second.status, second.text]).toEqual([first.status, first.text]);
    expect(second.headers).toMatchObject({
      location: first.headers['location'],
      'content-type': first.headers['content-type'],
      'idempotent-replayed': 'true',
      // This request's own, like every header that is not part of the stored answer.
      'x-request-id': 'second',
    });
    await expectChargedOnce(service.evidence, key);
  });

  it('treats a quoted and a bare key as one key, and ignores the order of members', async () => {
    const key = newKey();
    const first = await service.post(chargeBody(), { key: `"${key}"` });
    const reversed = Object.fromEntries(Object.entries(chargeBody()).toReversed());
    const second = await service.post(reversed, { key });
    expect([second.status, second.text]).toEqual([201, first.text]);
    expect(second.headers['idempotent-replayed']).toBe('true');
    await expectChargedOnce(service.evidence, key);
  });

  it('treats an omitted field and its default as the same request', async () => {
    const key = newKey();
    const first = await service.post(chargeBody(), { key });
    const spelledOut = { capture_method: 'automatic', description: null, metadata: {}, user_id: null };
    const second = await service.post(chargeBody(spelledOut), { key });
    expect([second.status, second.text]).toEqual([201, first.text]);
  });

  it.each([
    ['amount', { amount: AMOUNT + 1 }],
    ['currency', { currency: 'USD' }],
    ['payment method', { payment_method: 'pm_card_declined' }],
    ['capture method', { capture_method: 'manual' }],
    ['user', { user_id: '0b6b2f0e-58c8-4d64-9c0f-9d1b6a3f1c56' }],
    ['description', { description: 'another' }],
    ['metadata', { metadata: { order_id: '1002' } }],
  ])(
    'refuses another %s under the same key with 422, and leaves the first payment alone',
    async (_what, changes) => {
      const key = newKey();
      const first = await service.post(chargeBody(), { key });
      const other = await service.post(chargeBody(changes), { key });
      expect(other.status).toBe(422);
      expect(other.body).toMatchObject({ code: 'idempotency_key_reused', retry: 'new_key', effect: 'none' });
      expect(other.headers['idempotent-replayed']).toBe('false');
      expect((await service.post(chargeBody(), { key })).text).toBe(first.text);
      await expectChargedOnce(service.evidence, key);
    },
  );

  it.each([
    ['pm_card_declined', 'card_declined'],
    ['pm_card_insufficient_funds', 'insufficient_funds'],
    ['pm_card_expired', 'expired_card'],
  ])('answers %s with 402 %s, stores it, and replays it byte for byte', async (payment_method, code) => {
    const key = newKey();
    const body = chargeBody({ payment_method });
    const first = await service.post(body, { key });
    expect(first.status).toBe(402);
    expect(first.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(first.headers['location']).toBeUndefined();
    expect(first.body).toMatchObject({
      code,
      retry: 'new_key',
      effect: 'none',
      transaction_id: expect.stringMatching(UUID_V7),
    });

    const second = await service.post(body, { key });
    // The request id is the first request's, too, because the stored body contains it.
    expect([second.status, second.text]).toEqual([402, first.text]);
    expect(second.headers['content-type']).toBe(first.headers['content-type']);
    expect(second.headers['idempotent-replayed']).toBe('true');

    const payment = await service.get(`/v1/payments/${first.body.transaction_id}`);
    expect(payment.body).toMatchObject({ status: 'failed', amount_captured: 0, failure: { code } });
    expect(await service.evidence.effects(key)).toEqual([]);
  });

  it('authorizes a manual capture and books nothing yet', async () => {
    const key = newKey();
    const reply = await service.post(chargeBody({ capture_method: 'manual' }), { key });
    expect(reply.status).toBe(201);
    expect(reply.body).toMatchObject({ status: 'authorized', amount: AMOUNT, amount_captured: 0 });
    expect(await service.evidence.effects(key)).toMatchObject([
      { kind: 'authorization', amountMinor: BigInt(AMOUNT) },
    ]);
    const id = [reply.body.transaction_id];
    expect(await service.evidence.query('SELECT FROM ledger_entries WHERE transaction_id = $1', id)).toEqual(
      [],
    );
    expect(await service.evidence.query('SELECT type FROM events WHERE transaction_id = $1', id)).toEqual([
      { type: 'payment.authorized' },
    ]);
  });

  it('answers 503 when the gateway is unavailable, keeps nothing of the try, and does not use up the key', async () => {
    const key = newKey();
    const body = chargeBody({ payment_method: 'pm_gateway_unavailable' });
    for (let tries = 1; tries <= 2; tries += 1) {
      const reply = await service.post(body, { key });
      expect(reply.status).toBe(503);
      expect(reply.body).toMatchObject({ code: 'service_unavailable', retry: 'same_key', effect: 'none' });
      expect(reply.headers['retry-after']).toMatch(/^[1-9]\d*$/);
      expect(await service.evidence.payments(key)).toEqual([]);
    }
    // Even a different request may use the key: the first one left nothing behind.
    expect((await service.post(chargeBody(), { key })).status).toBe(201);
    await expectChargedOnce(service.evidence, key);
  });

  it('charges once under the same key after the gateway was unavailable at first', async () => {
    const key = newKey();
    const body = chargeBody({ payment_method: 'pm_gateway_flaky' });
    expect((await service.post(body, { key })).status).toBe(503);
    const second = await service.post(body, { key });
    expect(second.status).toBe(201);
    expect(second.headers['idempotent-replayed']).toBe('false');
    const third = await service.post(body, { key });
    expect([third.status, third.text]).toEqual([201, second.text]);
    expect(third.headers['idempotent-replayed']).toBe('true');
    await expectChargedOnce(service.evidence, key);
  });

  it('keeps merchants’ keys apart', async () => {
    const key = newKey();
    const { merchantId, apiKey } = await service.addMerchant();
    const mine = await service.post(chargeBody(), { key });
    const theirs = await service.post(chargeBody({ amount: 5 }), { key, apiKey });
    expect(theirs.status).toBe(201);
    expect(theirs.body).toMatchObject({ merchant_id: merchantId, amount: 5 });
    expect(theirs.body.transaction_id).not.toBe(mine.body.transaction_id);
    expect(theirs.headers['idempotent-replayed']).toBe('false');
  });

  it.each([1, 999_999_999_999])('takes an amount of %d exactly', async (amount) => {
    const reply = await service.post(chargeBody({ amount }));
    expect(reply.status).toBe(201);
    expect(reply.body).toMatchObject({ amount, amount_captured: amount });
    expect((await service.get(`/v1/payments/${reply.body.transaction_id}`)).body).toMatchObject({ amount });
  });
});
