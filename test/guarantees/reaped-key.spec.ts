import { AMOUNT, charge, chargeBody, chargeUntilFinal, isReplay, newKey, WAIT } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE, type ServiceProcess } from '../support/service-process.js';
import { WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

describe('a key whose stored answer was reaped', () => {
  let fleet: ServiceFleet;
  let first: ServiceProcess;
  /** Has never seen the first service's keys, so none of its answers can come from memory. */
  let second: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_RETENTION: '1s', IDEMPOTENCY_LEASE: '2s' });
    [first, second] = await Promise.all([fleet.start(), fleet.start()]);
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  const reaped = (key: string) =>
    eventually('the answer is reaped', async () => (await fleet.evidence.claim(key)) === undefined);

  it('never charges again: a duplicate gets the original payment, however often the answer is reaped', async () => {
    const key = newKey();
    const original = await charge(first, key);
    expect(original.status).toBe(201);
    for (const service of [second, first]) {
      await reaped(key);
      const duplicate = await charge(service, key);
      expect(duplicate.status).toBe(201);
      expect(duplicate.json['transaction_id']).toBe(original.json['transaction_id']);
      expect(duplicate.headers.get('location')).toBe(original.headers.get('location'));
      expect(isReplay(duplicate)).toBe(true);
      await expectChargedOnce(fleet.evidence, key);
    }
  });

  it('still refuses another body, which does not take the key over', async () => {
    const key = newKey();
    const original = await charge(first, key);
    await reaped(key);

    const other = await charge(second, key, { body: chargeBody({ amount: AMOUNT + 1 }) });
    expect(other.status).toBe(422);
    expect(other.json).toMatchObject({ code: 'idempotency_key_reused', effect: 'none' });
    expect(other.headers.get('idempotent-replayed')).toBe('false');

    const duplicate = await charge(second, key);
    expect(duplicate.status).toBe(201);
    expect(duplicate.json['transaction_id']).toBe(original.json['transaction_id']);
    expect(isReplay(duplicate)).toBe(true);
    const again = await charge(first, key, { body: chargeBody({ amount: AMOUNT + 1 }) });
    expect(again.status).toBe(422);
    await expectChargedOnce(fleet.evidence, key);
  });

  it('still answers a decline with 402 and the original payment', async () => {
    const key = newKey();
    const body = chargeBody({ payment_method: 'pm_card_declined' });
    const original = await charge(first, key, { body });
    expect(original.status).toBe(402);
    await reaped(key);

    const duplicate = await charge(second, key, { body });
    expect(duplicate.status).toBe(402);
    expect(duplicate.json).toMatchObject({
      code: 'card_declined',
      detail: original.json['detail'],
      transaction_id: original.json['transaction_id'],
      retry: 'new_key',
      effect: 'none',
    });
    expect(isReplay(duplicate)).toBe(true);
    expect(await fleet.evidence.payments(key)).toMatchObject([{ status: 'failed' }]);
    expect(await fleet.evidence.effects(key)).toEqual([]);
  });

  it('still belongs to the first body while a request with another body looks it up', async () => {
    const key = newKey();
    const original = await charge(first, key);
    await reaped(key);
    const doomed = await fleet.start({
      program: CRASHING_SERVICE,
      env: { STRIKE_POINT: 'after the claim', STRIKE_KEYS: key, ...WITHOUT_RECOVERY_WORKER },
    });
    await expect(charge(doomed, key, { body: chargeBody({ amount: AMOUNT + 1 }) })).rejects.toThrow(
      'fetch failed',
    );

    // The answer "reused, take a new key" would make an honest client pay twice.
    const duplicate = await chargeUntilFinal(second, key);
    expect(duplicate.status).toBe(201);
    expect(duplicate.json['transaction_id']).toBe(original.json['transaction_id']);
    await expectChargedOnce(fleet.evidence, key);
  });

  it('is still one payment when many ask at once, with the right body and a wrong one', async () => {
    const key = newKey();
    await charge(first, key);
    await reaped(key);
    const replies = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const body = chargeBody(index % 2 === 0 ? {} : { amount: AMOUNT + 1 });
        return { body, reply: await charge(index % 4 < 2 ? first : second, key, { body, headers: WAIT }) };
      }),
    );
    const wrong = replies.filter(({ body }) => body['amount'] !== AMOUNT);
    expect(wrong.map(({ reply }) => reply.status)).toEqual(wrong.map(() => 422));
    await expectChargedOnce(fleet.evidence, key);
  });
});
