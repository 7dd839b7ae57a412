import { setTimeout as sleep } from 'node:timers/promises';
import { get, MANUAL, post } from '../support/api.js';
import { charge, chargeBody, newKey, type Reply } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectVerified } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE, type ServiceProcess } from '../support/service-process.js';
import { UNDO_STRIKE_POINTS, WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

const AMOUNT = 1000;
const AUTOMATIC = { ...MANUAL, capture_method: 'automatic' };
const LOST_AFTER = { ...AUTOMATIC, payment_method: 'pm_gateway_timeout_after_charge' };
const LOST_BEFORE = { ...AUTOMATIC, payment_method: 'pm_gateway_timeout_before_charge' };

describe('a reversal: whatever was sent under a key has not happened', () => {
  let fleet: ServiceFleet;
  /** Resolves nothing without a request. */
  let passive: ServiceProcess;
  let other: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_LEASE: '2s', GATEWAY_TIMEOUT: '600ms' });
    [passive, other] = await Promise.all([
      fleet.start({ program: CRASHING_SERVICE, env: WITHOUT_RECOVERY_WORKER }),
      fleet.start(),
    ]);
  });
  afterEach(() => expectVerified(fleet.evidence));
  afterAll(() => fleet.end());

  it('a payment that never arrived is refused for ever, and the reversal says so', async () => {
    const key = newKey();
    const reversal = await reverse(key);
    expect(reversal).toMatchObject({
      status: 201,
      json: { idempotency_key: key, status: 'completed', outcome: 'prevented', transaction_id: null },
    });
    for (const service of [passive, other]) {
      const late = await charge(service, key);
      expect(late).toMatchObject({
        status: 409,
        json: { code: 'idempotency_key_reversed', effect: 'none', retry: 'none' },
      });
    }
    expect(await fleet.evidence.payments(key)).toEqual([]);
    expect((await get(passive, `/v1/idempotency-keys/${key}`)).json).toMatchObject({
      state: 'reversed',
      resource: reversal.headers.get('location'),
      attempts: null,
      running: false,
      expires_at: null,
    });
  });

  it('the closed key outlives every stored answer', async () => {
    const key = newKey();
    await reverse(key);
    // The retention worker's statement, at a time when everything with a lifetime has expired.
    const reaped = await fleet.evidence.query(
      `DELETE FROM idempotency_keys WHERE status <> 'in_progress' AND expires_at <= now() + interval '1 year' RETURNING 1`,
    );
    expect(reaped.length).toBeGreaterThan(0);
    expect(await charge(passive, key)).toMatchObject({ status: 409 });
  });

  it.each([
    ['an authorized payment is canceled', MANUAL, 'canceled', 'canceled', 0],
    ['a completed one is refunded', AUTOMATIC, 'refunded', 'completed', AMOUNT],
    [
      'one that was charged without an answer is resolved and refunded',
      LOST_AFTER,
      'refunded',
      'completed',
      AMOUNT,
    ],
    ['one that the gateway never had is resolved, and nothing is undone', LOST_BEFORE, 'failed', 'failed', 0],
  ])('%s', async (_name, body, outcome, status, refunded) => {
    const key = newKey();
    const first = await post(passive, '/v1/payments', { key, body });
    const reversal = await reverseUntilFinal(key, newKey());
    expect(reversal.json).toMatchObject({ outcome, transaction_id: first.json['transaction_id'] });
    const payment = await get(passive, `/v1/payments/${String(first.json['transaction_id'])}`);
    expect(payment.json).toMatchObject({ status, amount_refunded: refunded });
    expect(await netEffect(key)).toBe(0n);
  });

  it('a request that was answered before its reversal keeps its first answer', async () => {
    const key = newKey();
    const first = await post(passive, '/v1/payments', { key, body: AUTOMATIC });
    await reverse(key);
    expect(await post(passive, '/v1/payments', { key, body: AUTOMATIC })).toMatchObject({
      status: 201,
      body: first.body,
    });
  });

  it('is itself exactly once: any number of reversals, under one key or several, undo once', async () => {
    for (const body of [AUTOMATIC, MANUAL, LOST_AFTER]) {
      const key = newKey();
      await post(passive, '/v1/payments', { key, body });
      const [one, two] = [newKey(), newKey()];
      const replies = await Promise.all(
        [one, one, one, two, two, newKey()].map((reversalKey, index) =>
          reverseUntilFinal(key, reversalKey, index % 2 === 0 ? passive : other),
        ),
      );
      const outcome = body === MANUAL ? 'canceled' : 'refunded';
      expect(replies.map(({ json }) => json['outcome'])).toEqual(replies.map(() => outcome));
      expect(new Set(replies.slice(0, 3).map(({ body: bytes }) => bytes)).size).toBe(1);
      expect(await netEffect(key)).toBe(0n);
      const effects = await fleet.evidence.effects(key);
      expect(effects.map(({ kind }) => kind)).toEqual(
        body === MANUAL ? ['authorization', 'void'] : ['charge', 'refund'],
      );
    }
  });

  it('races with its late original over two services: each time there is one end', async () => {
    const outcomes = new Set<unknown>();
    for (let round = 0; round < 24; round += 1) {
      const key = newKey();
      const body = round % 2 === 0 ? AUTOMATIC : MANUAL;
      const [original, reversal] = await Promise.all([
        after((round % 4) * 5, () => post(passive, '/v1/payments', { key, body })),
        after(round % 3, () => reverseUntilFinal(key, newKey(), other)),
      ]);
      const { outcome } = reversal.json;
      outcomes.add(outcome);
      expect(original.status).toBe(outcome === 'prevented' ? 409 : 201);
      expect(await netEffect(key)).toBe(0n);
      expect(await fleet.evidence.payments(key)).toHaveLength(outcome === 'prevented' ? 0 : 1);
    }
    expect(outcomes).toContain('prevented');
    expect(outcomes.size).toBeGreaterThan(1);
  });

  it('races with a capture, and with refunds: nothing is left of the payment', async () => {
    for (let round = 0; round < 6; round += 1) {
      const key = newKey();
      const body = round % 2 === 0 ? MANUAL : AUTOMATIC;
      const { json } = await post(passive, '/v1/payments', { key, body });
      const path = `/v1/payments/${String(json['transaction_id'])}`;
      await Promise.all([
        body === MANUAL
          ? post(other, `${path}/capture`, { body: { amount: 700 } })
          : Promise.all([1, 2, 3].map(() => post(other, `${path}/refunds`, { body: { amount: 100 } }))),
        reverseUntilFinal(key, newKey()),
      ]);
      expect(await netEffect(key)).toBe(0n);
    }
  });

  it('waits for a payment whose owner is still busy, then undoes it', async () => {
    const key = newKey();
    const reversalKey = newKey();
    const slow = await fleet.start({ env: { GATEWAY_TIMEOUT: '4s', IDEMPOTENCY_LEASE: '8s' } });
    const original = charge(slow, key, { body: chargeBody({ payment_method: 'pm_gateway_slow' }) });
    await eventually('it is claimed', async () => (await fleet.evidence.claim(key)) !== undefined);
    expect(await reverse(key, reversalKey)).toMatchObject({
      status: 202,
      json: { status: 'pending', outcome: null },
    });
    expect((await original).status).toBe(201);
    expect((await reverseUntilFinal(key, reversalKey)).json).toMatchObject({ outcome: 'refunded' });
    expect(await netEffect(key)).toBe(0n);
    await slow.kill();
  });

  it('is continued by recovery when its client never comes back', async () => {
    const key = newKey();
    await post(passive, '/v1/payments', {
      key,
      body: { ...AUTOMATIC, payment_method: 'pm_gateway_timeout_after_charge' },
    });
    const doomed = await fleet.start({
      program: CRASHING_SERVICE,
      env: { ...WITHOUT_RECOVERY_WORKER, STRIKE_POINT: 'in the call that undoes, before its effect' },
    });
    await expect(reverse(key, newKey(), doomed)).rejects.toThrow('fetch failed');
    expect(await doomed.ended()).toBe('SIGKILL');
    await eventually('the money went back', async () => (await netEffect(key)) === 0n);
    await eventually('the reversal says so', async () => {
      const rows = await fleet.evidence.query<{ outcome: string }>(
        'SELECT outcome FROM reversals WHERE reversed_key = $1',
        [key],
      );
      return rows[0]?.outcome === 'refunded';
    });
  });

  it.each([
    [UNDO_STRIKE_POINTS[0], AUTOMATIC],
    [UNDO_STRIKE_POINTS[1], MANUAL],
    ['after the gateway answered', MANUAL],
    ['after the settle, before the answer', AUTOMATIC],
  ] as const)('a service that is killed %s: the retry finds one end', async (point, body) => {
    const key = newKey();
    const reversalKey = newKey();
    await post(passive, '/v1/payments', { key, body });
    const doomed = await fleet.start({
      program: CRASHING_SERVICE,
      env: { STRIKE_POINT: point, STRIKE_KEYS: reversalKey, ...WITHOUT_RECOVERY_WORKER },
    });
    await expect(reverse(key, reversalKey, doomed)).rejects.toThrow('fetch failed');
    expect(await doomed.ended()).toBe('SIGKILL');
    const reversal = await reverseUntilFinal(key, reversalKey);
    expect(reversal.json).toMatchObject({ outcome: body === MANUAL ? 'canceled' : 'refunded' });
    expect(await fleet.evidence.effects(key)).toHaveLength(2);
    expect(await netEffect(key)).toBe(0n);
  });

  it('a refund that the gateway declines is a final no, and the answer says so', async () => {
    const key = newKey();
    const reversalKey = newKey();
    await post(passive, '/v1/payments', {
      key,
      body: { ...AUTOMATIC, payment_method: 'pm_card_refund_declined' },
    });
    const reversal = await reverse(key, reversalKey);
    expect(reversal).toMatchObject({ status: 402, json: { code: 'refund_declined', effect: 'none' } });
    expect(await reverse(key, reversalKey)).toMatchObject({ status: 402, body: reversal.body });
  });

  it('only payments can be reversed', async () => {
    const key = newKey();
    const refundKey = newKey();
    const { json } = await post(passive, '/v1/payments', { key, body: AUTOMATIC });
    await post(passive, `/v1/payments/${String(json['transaction_id'])}/refunds`, {
      key: refundKey,
      body: { amount: 1 },
    });
    const itself = newKey();
    for (const [reversed, reversalKey] of [
      [refundKey, newKey()],
      [itself, itself],
    ] as const) {
      expect(await reverse(reversed, reversalKey)).toMatchObject({
        status: 409,
        json: { code: 'idempotency_key_not_reversible', effect: 'none' },
      });
    }
  });

  it('a key that was released after a refusal is closed like one that never arrived', async () => {
    const key = newKey();
    const body = { ...AUTOMATIC, payment_method: 'pm_gateway_unavailable' };
    expect(await post(passive, '/v1/payments', { key, body })).toMatchObject({ status: 503 });
    expect((await reverse(key)).json).toMatchObject({ outcome: 'prevented' });
    expect(await charge(passive, key)).toMatchObject({
      status: 409,
      json: { code: 'idempotency_key_reversed' },
    });
  });

  it.each([
    {},
    { idempotency_key: '' },
    { idempotency_key: 'ä' },
    { idempotency_key: 7 },
    { idempotency_key: 'a b' },
    { idempotency_key: 'k', more: 1 },
    { idempotency_key: 'k'.repeat(256) },
  ])('refuses %j and uses no key up', async (body) => {
    const reversalKey = newKey();
    expect(await post(passive, '/v1/reversals', { key: reversalKey, body })).toMatchObject({ status: 400 });
    expect(await fleet.evidence.claim(reversalKey)).toBeUndefined();
  });

  function reverse(key: string, reversalKey = newKey(), service = passive): Promise<Reply> {
    return post(service, '/v1/reversals', { key: reversalKey, body: { idempotency_key: key } });
  }

  /** As a good coordinator does: asks again under the same key until it has a final answer. */
  async function reverseUntilFinal(key: string, reversalKey: string, service = passive): Promise<Reply> {
    return eventually('the reversal ends', async () => {
      const reply = await reverse(key, reversalKey, service);
      return reply.status === 201 ? reply : undefined;
    });
  }

  async function after<T>(delayMs: number, action: () => Promise<T>): Promise<T> {
    await sleep(delayMs);
    return action();
  }

  /** How much of a payment's money the gateway holds in the end. An authorization that was not given up counts, too. */
  async function netEffect(key: string): Promise<bigint> {
    const effects = await fleet.evidence.effects(key);
    const sum = (...kinds: string[]): bigint =>
      effects
        .filter(({ kind }) => kinds.includes(kind))
        .reduce((total, { amountMinor }) => total + amountMinor, 0n);
    const captured = effects.some(({ kind }) => kind === 'capture');
    const ended = captured || effects.some(({ kind }) => kind === 'void');
    return sum('charge', 'capture') - sum('refund') + (ended ? 0n : sum('authorization'));
  }
});
