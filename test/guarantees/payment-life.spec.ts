import { AUTOMATIC, get, MANUAL, newPayment, post } from '../support/api.js';
import { newKey, type Reply } from '../support/client.js';
import { expectVerified } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';

describe('requests with different keys that race for one payment, over two service processes', () => {
  let fleet: ServiceFleet;
  let services: [ServiceProcess, ServiceProcess];

  beforeAll(async () => {
    fleet = await ServiceFleet.create();
    services = await Promise.all([fleet.start(), fleet.start()]);
  });
  afterEach(async () => {
    await expectLimitsToHold(fleet);
    await expectVerified(fleet.evidence);
  });
  afterAll(() => fleet.end());

  const race = (requests: number, path: (index: number) => string, body?: object): Promise<Reply[]> =>
    Promise.all(
      Array.from({ length: requests }, (_, index) =>
        post(services[index % 2]!, path(index), { ...(body && { body }) }),
      ),
    );

  it('20 refunds of 60 %: exactly one succeeds, and the others are refused for good', async () => {
    const id = await newPayment(services[0], AUTOMATIC);
    const replies = await race(20, () => `/v1/payments/${id}/refunds`, { amount: 600 });
    expect(statuses(replies)).toEqual({ 201: 1, 409: 19 });
    expect(codes(replies)).toEqual({ amount_too_large: 19 });
    expect((await get(services[1], `/v1/payments/${id}`)).json).toMatchObject({ amount_refunded: 600 });
  });

  it('30 refunds of 5 %: exactly twenty succeed, and exactly the money that came in goes back', async () => {
    const id = await newPayment(services[0], AUTOMATIC);
    const replies = await race(30, () => `/v1/payments/${id}/refunds`, { amount: 50 });
    expect(statuses(replies)).toEqual({ 201: 20, 409: 10 });
    expect(codes(replies)).toEqual({ payment_not_refundable: 10 });
    expect((await get(services[1], `/v1/payments/${id}`)).json).toMatchObject({ amount_refunded: 1000 });
    const { json } = await get(services[0], `/v1/payments/${id}/refunds?limit=100`);
    expect(json['data']).toHaveLength(20);
  });

  it('refunds of "all that is left" beside partial ones never give back more than was captured', async () => {
    const id = await newPayment(services[0], AUTOMATIC);
    await Promise.all([
      race(10, () => `/v1/payments/${id}/refunds`, { amount: 150 }),
      race(4, () => `/v1/payments/${id}/refunds`),
    ]);
    expect((await get(services[0], `/v1/payments/${id}`)).json).toMatchObject({ amount_refunded: 1000 });
  });

  it('10 captures at once: one succeeds', async () => {
    const id = await newPayment(services[0], MANUAL);
    const replies = await race(10, () => `/v1/payments/${id}/capture`);
    expect(statuses(replies)).toEqual({ 200: 1, 409: 9 });
    expect(codes(replies)).toEqual({ payment_not_capturable: 9 });
  });

  it('a capture against a cancel: one of them ends the authorization, and the loser gets 409', async () => {
    for (let round = 0; round < 10; round += 1) {
      const id = await newPayment(services[0], MANUAL);
      const replies = await race(
        2,
        (index) => `/v1/payments/${id}/${index === round % 2 ? 'capture' : 'cancel'}`,
      );
      expect(statuses(replies)).toEqual({ 200: 1, 409: 1 });
      const winner = replies.find(({ status }) => status === 200)!;
      expect((await get(services[1], `/v1/payments/${id}`)).json['status']).toBe(winner.json['status']);
      const effects = await fleet.evidence.effectsOf(id);
      expect(effects.map(({ kind }) => kind).toSorted()).toEqual(
        ['authorization', winner.json['status'] === 'completed' ? 'capture' : 'void'].toSorted(),
      );
    }
  });

  it('the same refund 30 times with one key is one refund, one effect and one event', async () => {
    const id = await newPayment(services[0], AUTOMATIC);
    const key = newKey();
    const send = (index: number): Promise<Reply> =>
      post(services[index % 2]!, `/v1/payments/${id}/refunds`, {
        key,
        body: { amount: 100 },
        headers: { prefer: 'wait=10' },
      });
    const replies = await Promise.all(Array.from({ length: 30 }, (_, index) => send(index)));
    expect(statuses(replies)).toEqual({ 201: 30 });
    expect(new Set(replies.map(({ body }) => body)).size).toBe(1);
    expect(await fleet.evidence.effectsOf(id)).toHaveLength(2);
    const events = await fleet.evidence.query(
      'SELECT type, sequence FROM events WHERE transaction_id = $1 ORDER BY sequence',
      [id],
    );
    expect(events).toEqual([
      { type: 'payment.completed', sequence: 1 },
      { type: 'refund.completed', sequence: 2 },
    ]);
  });
});

function statuses(replies: readonly Reply[]): Record<string, number> {
  return count(replies.map(({ status }) => String(status)));
}

function codes(replies: readonly Reply[]): Record<string, number> {
  return count(replies.flatMap(({ json }) => (typeof json['code'] === 'string' ? [json['code']] : [])));
}

function count(words: readonly string[]): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length]));
}

/** Amounts agree between payments, refunds and ledger, events are numbered without gaps, and nothing is held. */
async function expectLimitsToHold({ evidence }: ServiceFleet): Promise<void> {
  const wrong = await evidence.query(`
    SELECT p.transaction_id
    FROM payments p
    LEFT JOIN LATERAL (
      SELECT coalesce(sum(amount), 0) AS refunded FROM refunds r
      WHERE r.merchant_id = p.merchant_id AND r.transaction_id = p.transaction_id AND r.status <> 'failed') r ON true
    LEFT JOIN LATERAL (
      SELECT coalesce(sum(amount), 0) AS receivable FROM ledger_entries l
      WHERE l.merchant_id = p.merchant_id AND l.transaction_id = p.transaction_id
        AND l.account = 'gateway_receivable') l ON true
    LEFT JOIN LATERAL (
      SELECT count(*) AS events, coalesce(max(sequence), 0) AS last FROM events e
      WHERE e.merchant_id = p.merchant_id AND e.transaction_id = p.transaction_id) e ON true
    WHERE r.refunded <> p.amount_refunded OR l.receivable <> p.amount_captured - p.amount_refunded
      OR e.events <> e.last OR e.last <> p.event_sequence OR p.held_by IS NOT NULL`);
  expect(wrong).toEqual([]);
}
