import { AUTOMATIC, MANUAL, newPayment, post } from '../support/api.js';
import {
  charge,
  chargeBody,
  chargeUntilFinal,
  isReplay,
  newKey,
  SLOW,
  type Reply,
} from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectChargedOnce, expectVerified } from '../support/evidence.js';
import { type LockedRows, lockRows } from '../support/locked-rows.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';

const LOCKED = 5;
const CLIENTS = 8;
const CHARGES_PER_CLIENT = 12;
/**
 * A request that waits for a locked row waits for seconds, and one behind a group of five for half a minute. What does
 * not wait takes milliseconds; the rest is for a busy machine.
 */
const NOT_HELD_UP_MS = 3_000;
/** The smallest pool is the first to run out of connections: any test here locks more rows than it has. */
const ENV = {
  DATABASE_POOL_SIZE: '3',
  IDEMPOTENCY_LEASE: '10s',
  GATEWAY_TIMEOUT: '4s',
  IDEMPOTENCY_MISSING_KEY: 'derive',
};

const CLAIMS = 'SELECT FROM idempotency_keys WHERE idempotency_key = ANY($1) FOR UPDATE';
const PAYMENTS_OF_KEYS = 'SELECT FROM payments WHERE idempotency_key = ANY($1) FOR UPDATE';
const PAYMENTS = 'SELECT FROM payments WHERE transaction_id = ANY($1) FOR UPDATE';

describe('rows that another connection has locked', () => {
  let fleet: ServiceFleet;
  let here: ServiceProcess;
  let locked: LockedRows | undefined;

  beforeAll(async () => {
    fleet = await ServiceFleet.create(ENV);
    here = await fleet.start();
  });
  afterEach(async () => {
    await locked?.release();
    await expectVerified(fleet.evidence);
  });
  afterAll(() => fleet.end());

  async function lock(select: string, values: readonly string[]): Promise<LockedRows> {
    locked = await lockRows(fleet.databaseUrl, select, values);
    return locked;
  }

  const keys = (count = LOCKED) => Array.from({ length: count }, () => newKey('locked'));

  /**
   * Sends charges and resolves when the gateway has acted on all of them. Their clients ask until they have a final
   * answer: on a busy machine the rows may stay locked for longer than a request waits.
   */
  async function atTheGateway(named: readonly string[], body: Record<string, unknown>) {
    const replies = named.map((key) => chargeUntilFinal(here, key, { body }));
    for (const key of named) {
      await eventually(
        'the charge is at the gateway',
        async () => (await fleet.evidence.effects(key)).length > 0,
      );
    }
    return following(replies);
  }

  const isWaiting = () =>
    eventually('the service waits for a lock', async () => {
      const waiting = await fleet.evidence.query(
        `SELECT FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'hapax' AND wait_event_type = 'Lock'`,
      );
      return waiting.length > 0;
    });

  /** Every client sends its requests one after another; returns the slowest of them all. */
  async function slowest(send: () => Promise<void>): Promise<number> {
    let slowestMs = 0;
    const client = async () => {
      for (let sent = 0; sent < CHARGES_PER_CLIENT; sent += 1) {
        const startMs = performance.now();
        await send();
        slowestMs = Math.max(slowestMs, performance.now() - startMs);
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
    return slowestMs;
  }

  async function expectOthersNotHeldUp(send = sendCharge): Promise<void> {
    expect(await slowest(send)).toBeLessThan(NOT_HELD_UP_MS);
  }

  async function sendCharge(): Promise<void> {
    const reply = await charge(here, newKey('unrelated'));
    expect(`${reply.status} ${isReplay(reply)}`).toBe('201 false');
  }

  async function sendChargeAndRefund(): Promise<void> {
    const id = await newPayment(here, AUTOMATIC);
    expect((await post(here, `/v1/payments/${id}/refunds`)).status).toBe(201);
  }

  it.each([
    ['claims', CLAIMS],
    ['payments', PAYMENTS_OF_KEYS],
  ])('five locked %s whose charges are to be settled hold up no other charge', async (_rows, select) => {
    const named = keys();
    const stuck = await atTheGateway(named, SLOW);
    const held = await lock(select, named);
    await isWaiting();

    await expectOthersNotHeldUp();

    expect(stuck.answered()).toBe(0);
    await held.release();
    for (const reply of await stuck.replies) expect(reply.status).toBe(201);
    for (const key of named) await expectChargedOnce(fleet.evidence, key);
  });

  it('five locked payments that refunds and captures want hold up no other refund', async () => {
    const completed = await Promise.all(Array.from({ length: 3 }, () => newPayment(here, AUTOMATIC)));
    const authorized = await Promise.all(Array.from({ length: 2 }, () => newPayment(here, MANUAL)));
    const held = await lock(PAYMENTS, [...completed, ...authorized]);
    const refunds = following(
      [...completed, ...completed].map((id) =>
        untilFinal(`/v1/payments/${id}/refunds`, { key: newKey(), body: { amount: 100 } }),
      ),
    );
    const captures = following(
      authorized.map((id) => untilFinal(`/v1/payments/${id}/capture`, { key: newKey() })),
    );
    await isWaiting();

    await expectOthersNotHeldUp(sendChargeAndRefund);

    expect([refunds.answered(), captures.answered()]).toEqual([0, 0]);
    await held.release();
    expect((await refunds.replies).map(({ status }) => status)).toEqual([201, 201, 201, 201, 201, 201]);
    expect((await captures.replies).map(({ status }) => status)).toEqual([200, 200]);
    for (const id of completed) await expectEffects(id, ['charge', 'refund', 'refund']);
    for (const id of authorized) await expectEffects(id, ['authorization', 'capture']);
  });

  it('five locked claims that are asked for again in another process hold up no charge there', async () => {
    const named = keys();
    const elsewhere = await fleet.start();
    const first = await Promise.all(named.map((key) => charge(elsewhere, key)));
    const held = await lock(CLAIMS, named);
    const again = following(named.map((key) => chargeUntilFinal(here, key)));

    await expectOthersNotHeldUp();

    await held.release();
    for (const [index, reply] of (await again.replies).entries()) {
      expect([reply.status, isReplay(reply), reply.body]).toEqual([201, true, first[index]!.body]);
    }
    for (const key of named) await expectChargedOnce(fleet.evidence, key);
  });

  it('locked claims that are to be left open hold up no charge, however many they are', async () => {
    const named = keys(12);
    const stuck = await atTheGateway(
      named,
      chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' }),
    );
    const held = await lock(CLAIMS, named);
    await isWaiting();

    await expectOthersNotHeldUp();

    expect(stuck.answered()).toBe(0);
    await held.release();
    for (const reply of await stuck.replies) expect(reply.status).toBe(201);
    for (const key of named) await expectChargedOnce(fleet.evidence, key);
  });

  it('five locked rows of derived keys hold up no other charge', async () => {
    const bodies = keys().map((description) => chargeBody({ description }));
    const chargeWithoutKey = (body: object) => untilFinal('/v1/payments', { key: null, body });
    const first = await Promise.all(bodies.map(chargeWithoutKey));
    const held = await lock(
      'SELECT FROM derived_keys WHERE fingerprint = ANY($1) FOR UPDATE',
      await fingerprints(),
    );
    const again = following(bodies.map(chargeWithoutKey));
    await isWaiting();

    await expectOthersNotHeldUp();

    expect(again.answered()).toBe(0);
    await held.release();
    for (const [index, reply] of (await again.replies).entries())
      expect([reply.status, isReplay(reply), reply.body]).toEqual([201, true, first[index]!.body]);
  });

  /** Of all requests that came without a key. */
  async function fingerprints(): Promise<string[]> {
    const rows = await fleet.evidence.query<{ fingerprint: string }>('SELECT fingerprint FROM derived_keys');
    return rows.map(({ fingerprint }) => fingerprint);
  }

  it('a whole table that is locked for a moment delays charges, and each happens once', async () => {
    const held = await lock('LOCK TABLE payments IN ACCESS EXCLUSIVE MODE', []);
    const named = keys(100);
    const charges = following(named.map((key) => chargeUntilFinal(here, key)));
    await eventually('many of them wait in the side lane', async () => (await waitingForLocks()) > 20);
    expect(charges.answered()).toBe(0);
    await held.release();
    for (const reply of await charges.replies) expect(reply.status).toBe(201);
    for (const key of named) await expectChargedOnce(fleet.evidence, key);
    expect(await waitingForLocks()).toBe(0);
  });

  async function waitingForLocks(): Promise<number> {
    const metrics = await (await fetch(`${here.baseUrl}/metrics`)).text();
    return Number(/^hapax_waiting_for_locks (\d+)$/m.exec(metrics)?.[1]);
  }

  it('what waits for a moment gets its first answer', async () => {
    const settling = newKey();
    const settlement = charge(here, settling, { body: SLOW });
    const charged = await eventually(
      'the payment is there',
      async () => (await fleet.evidence.payments(settling))[0]?.transaction_id,
    );
    const refunded = await newPayment(here, AUTOMATIC);
    const held = await lock(PAYMENTS, [charged, refunded]);
    await eventually('the settlement waits', async () => (await waitingForLocks()) === 1);
    const refund = post(here, `/v1/payments/${refunded}/refunds`);
    await eventually('the refund waits too', async () => (await waitingForLocks()) === 2);
    await held.release();
    for (const reply of [await refund, await settlement])
      expect([reply.status, isReplay(reply)]).toEqual([201, false]);
    await expectChargedOnce(fleet.evidence, settling);
    await expectEffects(refunded, ['charge', 'refund']);
  });

  it('what waits for longer than a statement may is answered as ever, and the retry ends it', async () => {
    const settling = newKey();
    const settlement = charge(here, settling, { body: SLOW });
    await eventually(
      'the charge is at the gateway',
      async () => (await fleet.evidence.effects(settling)).length > 0,
    );
    const payment = await newPayment(here, AUTOMATIC);
    const held = await lock(PAYMENTS, [
      payment,
      ...(await fleet.evidence.payments(settling)).map((row) => row.transaction_id),
    ]);
    const refundKey = newKey('refund');
    const refund = () => post(here, `/v1/payments/${payment}/refunds`, { key: refundKey });
    expect(await refund()).toMatchObject({
      status: 503,
      json: { code: 'service_unavailable', effect: 'none', retry: 'same_key' },
    });
    expect(await settlement).toMatchObject({
      status: 503,
      json: { code: 'outcome_unknown', effect: 'unknown', retry: 'same_key' },
    });
    await held.release();
    expect((await refund()).status).toBe(201);
    await expectEffects(payment, ['charge', 'refund']);
    expect((await chargeUntilFinal(here, settling, { body: SLOW })).status).toBe(201);
    await expectChargedOnce(fleet.evidence, settling);
  });

  /** Does what a good client does. */
  async function untilFinal(path: string, options: { key: string | null; body?: object }): Promise<Reply> {
    return eventually('a final answer', async () => {
      const reply = await post(here, path, options);
      return reply.json['retry'] !== 'same_key' && reply;
    });
  }

  async function expectEffects(transactionId: string, kinds: string[]): Promise<void> {
    const effects = await fleet.evidence.effectsOf(transactionId);
    expect(effects.map(({ kind }) => kind)).toEqual(kinds);
    const events = await fleet.evidence.query<{ sequence: number }>(
      'SELECT sequence FROM events WHERE transaction_id = $1 ORDER BY sequence',
      [transactionId],
    );
    expect(events.map(({ sequence }) => sequence)).toEqual(kinds.map((_, index) => index + 1));
  }
});

/** Replies on their way, and how many have come. */
function following(requests: readonly Promise<Reply>[]) {
  let count = 0;
  const replies = Promise.all(
    requests.map(async (request) => {
      const reply = await request;
      count += 1;
      return reply;
    }),
  );
  replies.catch(() => undefined);
  return { replies, answered: () => count };
}
