import { setTimeout as sleep } from 'node:timers/promises';
import type { SandboxCallName } from '../../src/config/sandbox-script.js';
import { SandboxGatewayHost } from '../../src/gateways/sandbox/sandbox-gateway.host.js';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';
import { script } from '../gateways/sandbox-fixture.js';
import { AUTOMATIC, get, MANUAL, newPayment, post } from '../support/api.js';
import { newKey, type Reply } from '../support/client.js';
import { expectVerified } from '../support/evidence.js';
import { TestApp } from '../support/test-app.js';

interface Case {
  what: string;
  /** The call as the provider's wire names it, and its effect in the provider's books. */
  call: SandboxCallName;
  /** The payment that it acts on. */
  payment: typeof MANUAL;
  path: (id: string) => string;
  body: object;
  amount: bigint;
  /** The first answer, while the outcome is unknown. */
  pending: object;
  /** The final answer, and below it the payment after that. */
  done: { status: number; json: object };
  paymentAfter: object;
  /** The answer to the same request under another key meanwhile. */
  meanwhile: { status: number; json: object };
  event: string;
}

const CAPTURE: Case = {
  what: 'a capture',
  call: 'capture',
  payment: MANUAL,
  path: (id) => `/v1/payments/${id}/capture`,
  body: { amount: 700 },
  amount: 700n,
  pending: { status: 'authorized', amount_captured: 0 },
  done: { status: 200, json: { status: 'completed', amount_captured: 700 } },
  paymentAfter: { status: 'completed', amount_captured: 700 },
  meanwhile: { status: 409, json: { code: 'payment_not_capturable', effect: 'none' } },
  event: 'payment.completed',
};

const CANCEL: Case = {
  what: 'a cancel',
  call: 'void',
  payment: MANUAL,
  path: (id) => `/v1/payments/${id}/cancel`,
  body: {},
  amount: 1000n,
  pending: { status: 'authorized', amount_captured: 0 },
  done: { status: 200, json: { status: 'canceled' } },
  paymentAfter: { status: 'canceled', amount_captured: 0 },
  meanwhile: { status: 409, json: { code: 'payment_not_cancelable', effect: 'none' } },
  event: 'payment.canceled',
};

const REFUND: Case = {
  what: 'a refund',
  call: 'refund',
  payment: AUTOMATIC,
  path: (id) => `/v1/payments/${id}/refunds`,
  body: { amount: 600 },
  amount: 600n,
  pending: { status: 'pending', amount: 600, failure: null },
  done: { status: 201, json: { status: 'completed', amount: 600 } },
  // Its amount is reserved from the first moment on.
  paymentAfter: { status: 'completed', amount_captured: 1000, amount_refunded: 600 },
  meanwhile: { status: 409, json: { code: 'amount_too_large', effect: 'none' } },
  event: 'refund.completed',
};

/** Longer than the service waits for an answer, and longer than a retry takes. */
const ARRIVAL_MS = 1_200;

const CASES = [CAPTURE, CANCEL, REFUND];
const ACTED = CASES.flatMap((each) =>
  (['silence_after', 'error_after'] as const).map((fault) => ({ ...each, fault })),
);
const DID_NOTHING = CASES.flatMap((each) =>
  (['silence_before', 'error_before'] as const).map((fault) => ({ ...each, fault })),
);

describe('a gateway that does not say what it did with', () => {
  let service: TestApp;
  let target: { baseUrl: string };

  beforeAll(async () => {
    service = await TestApp.start({ IDEMPOTENCY_LEASE: '5s', GATEWAY_TIMEOUT: '300ms' });
    target = { baseUrl: (await service.app.getUrl()).replace('[::1]', '127.0.0.1') };
    // Only a retry resolves anything. The last test runs the worker.
    await service.app.get(RecoveryWorker)['rounds'].stop();
  });
  afterEach(async () => {
    play(null);
    await expectVerified(service.evidence);
  });
  afterAll(() => service.stop());

  function play(json: object | null): void {
    service.app.get(SandboxGatewayHost).engine!.play(json === null ? null : script(json));
  }

  const read = async (id: string) => (await get(target, `/v1/payments/${id}`)).json;

  /** What happened to the payment at the provider after it was made. */
  const laterEffects = async (id: string) =>
    (await service.evidence.effectsOf(id)).filter(({ chargeReference }) => chargeReference !== null);

  async function expectOnce(id: string, { call, amount, event }: Case): Promise<void> {
    expect(await laterEffects(id)).toMatchObject([{ kind: call, amountMinor: amount }]);
    const events = await service.evidence.query(
      'SELECT type, sequence FROM events WHERE transaction_id = $1 ORDER BY sequence',
      [id],
    );
    expect(events).toEqual([
      { type: expect.any(String), sequence: 1 },
      { type: event, sequence: 2 },
    ]);
    await expectBalanced(id, call === 'void' ? 0 : call === 'capture' ? 2 : 4);
  }

  async function expectBalanced(id: string, postings: number): Promise<void> {
    expect(
      await service.evidence.query(
        `SELECT count(*)::int AS postings, coalesce(sum(amount), 0)::int AS sum
         FROM ledger_entries WHERE transaction_id = $1`,
        [id],
      ),
    ).toEqual([{ postings, sum: 0 }]);
  }

  /** Sends the first request, whose outcome stays unknown. */
  async function sendLost(
    each: Case,
    fault: string,
  ): Promise<{ id: string; send: () => Promise<Reply>; first: Reply }> {
    const id = await newPayment(target, each.payment);
    const key = newKey();
    const send = () => post(target, each.path(id), { key, body: each.body });
    play({ calls: [each.call], faults: { [fault]: 1 } });
    const first = await send();
    expect(first).toMatchObject({ status: 202, json: each.pending });
    expect(first.headers.get('idempotent-replayed')).toBe('false');
    return { id, send, first };
  }

  it.each(ACTED)(
    '$what and did it ($fault): the retry finds out, and it happened once',
    async ({ fault, ...each }) => {
      const { id, send } = await sendLost(each, fault);
      expect(await laterEffects(id)).toHaveLength(1);
      const final = await send();
      expect(final).toMatchObject(each.done);
      expect(final.headers.get('idempotent-replayed')).toBe('false');
      const replay = await send();
      expect([replay.status, replay.body]).toEqual([final.status, final.body]);
      expect(replay.headers.get('idempotent-replayed')).toBe('true');
      expect(await read(id)).toMatchObject(each.paymentAfter);
      await expectOnce(id, each);
    },
  );

  it.each(DID_NOTHING)(
    '$what and did nothing ($fault): that is final, and everything is as before',
    async ({ fault, ...each }) => {
      const { id, send } = await sendLost(each, fault);
      const final = await send();
      expect(final).toMatchObject({
        status: 402,
        json: { code: 'not_processed', effect: 'none', retry: 'new_key', transaction_id: id },
      });
      expect(await send()).toMatchObject({ status: 402, body: final.body });
      expect(await laterEffects(id)).toEqual([]);
      expect(await read(id)).toMatchObject({
        status: each.payment === MANUAL ? 'authorized' : 'completed',
        amount_refunded: 0,
      });
      // Nothing is held any more: another key may do it, even for the whole amount.
      play(null);
      expect(
        await post(target, each.path(id), { body: each.call === 'refund' ? {} : each.body }),
      ).toMatchObject({
        status: each.done.status,
      });
      expect(await laterEffects(id)).toHaveLength(1);
    },
  );

  it.each(CASES)(
    '$what: meanwhile no other key can do it, and the same key can do nothing else',
    async (each) => {
      const { id, send } = await sendLost(each, 'silence_after');
      const other = await post(target, each.path(id), { body: each.body });
      expect(other).toMatchObject(each.meanwhile);
      const ends = each.payment === MANUAL ? ['capture', 'cancel'] : [];
      for (const end of ends) {
        expect(await post(target, `/v1/payments/${id}/${end}`, { body: {} })).toMatchObject({
          status: 409,
          json: { detail: expect.stringContaining('being captured or canceled') },
        });
      }
      const key = newKey();
      await post(target, each.path(id), { key, body: each.body });
      expect(await post(target, each.path(id), { key, body: { amount: 1 } })).toMatchObject({
        status: each.call === 'void' ? 400 : 422,
      });
      expect(await send()).toMatchObject(each.done);
      await expectOnce(id, each);
    },
  );

  it.each(CASES)('$what stays open for as long as the gateway cannot be reached', async (each) => {
    const { id, send, first } = await sendLost(each, 'silence_after');
    play({ lookups: { faults: { error: 1 } } });
    for (let tries = 1; tries <= 3; tries += 1) {
      const again = await send();
      expect([again.status, again.body]).toEqual([202, first.body]);
    }
    expect(await read(id)).toMatchObject({
      status: each.payment === MANUAL ? 'authorized' : 'completed',
      amount_captured: each.payment === MANUAL ? 0 : 1000,
    });
    play(null);
    expect(await send()).toMatchObject(each.done);
    await expectOnce(id, each);
  });

  it.each(CASES)(
    '$what that is still on its way: once it counts as absent, it can have no effect',
    async (each) => {
      const id = await newPayment(target, each.payment);
      const key = newKey();
      const send = () => post(target, each.path(id), { key, body: each.body });
      play({ calls: [each.call], next: 1, arrival_ms: ARRIVAL_MS });
      const sentAt = performance.now();
      expect(await send()).toMatchObject({ status: 202 });
      const final = await send();
      expect(final).toMatchObject({ status: 402, json: { code: 'not_processed' } });
      await sleep(ARRIVAL_MS + 200 - (performance.now() - sentAt));
      expect(await laterEffects(id)).toEqual([]);
      expect(await send()).toMatchObject({ status: 402, body: final.body });
      // Under a key of its own it is another call.
      expect(await post(target, each.path(id), { body: each.body })).toMatchObject({
        status: each.done.status,
      });
      expect(await laterEffects(id)).toHaveLength(1);
    },
  );

  it('a refund and others of the same payment add up, and only what never happened is returned', async () => {
    const id = await newPayment(target, AUTOMATIC);
    const refund = (amount: number, key = newKey()) =>
      post(target, `/v1/payments/${id}/refunds`, { key, body: { amount } });
    const keys = [newKey(), newKey()] as const;
    play({ calls: ['refund'], next: 1, faults: { silence_after: 1 } });
    expect(await refund(400, keys[0])).toMatchObject({ status: 202 });
    play({ calls: ['refund'], next: 1, faults: { silence_before: 1 } });
    expect(await refund(300, keys[1])).toMatchObject({ status: 202 });
    play(null);
    expect(await read(id)).toMatchObject({ amount_refunded: 700 });
    expect(await refund(301)).toMatchObject({ status: 409, json: { code: 'amount_too_large' } });
    expect(await refund(300)).toMatchObject({ status: 201 });
    expect(await refund(1)).toMatchObject({ status: 409, json: { code: 'payment_not_refundable' } });

    expect(await refund(300, keys[1])).toMatchObject({ status: 402, json: { code: 'not_processed' } });
    expect(await refund(400, keys[0])).toMatchObject({ status: 201 });
    expect(await read(id)).toMatchObject({ amount_refunded: 700 });
    expect(await refund(300)).toMatchObject({ status: 201 });
    expect((await laterEffects(id)).reduce((sum, { amountMinor }) => sum + amountMinor, 0n)).toBe(1000n);
    await expectBalanced(id, 8);
  });

  it('the recovery worker inquires about each of them when the client never comes back', async () => {
    const lost: string[] = [];
    const nothing: string[] = [];
    for (const each of CASES) {
      lost.push((await sendLost(each, 'silence_after')).id);
      nothing.push((await sendLost(each, 'silence_before')).id);
    }
    play(null);
    await service.evidence.query(
      `UPDATE idempotency_keys SET recover_after = clock_timestamp() WHERE status = 'in_progress'`,
    );
    const worker = service.app.get(RecoveryWorker);
    while ((await worker.runOnce()) > 0);
    for (const [index, each] of CASES.entries()) {
      expect(await read(lost[index]!)).toMatchObject(each.paymentAfter);
      await expectOnce(lost[index]!, each);
      expect(await laterEffects(nothing[index]!)).toEqual([]);
      expect(await read(nothing[index]!)).toMatchObject({
        status: each.payment === MANUAL ? 'authorized' : 'completed',
        amount_refunded: 0,
      });
    }
  });
});
