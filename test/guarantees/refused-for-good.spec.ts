import { get, MANUAL, newPayment, post } from '../support/api.js';
import { AMOUNT, charge, isReplay, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectVerified } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';

describe('what was refused for good under a key', () => {
  let fleet: ServiceFleet;
  let first: ServiceProcess;
  /** Has never seen the first service's keys, so none of its answers can come from memory. */
  let second: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_RETENTION: '1s' });
    [first, second] = await Promise.all([fleet.start(), fleet.start()]);
  });
  afterEach(() => expectVerified(fleet.evidence));
  afterAll(() => fleet.end());

  /** Everything that was stored before is past its lifetime, and the reaper has been. */
  async function retentionIsOver(): Promise<void> {
    const key = newKey();
    await charge(first, key);
    await eventually('the answer is reaped', async () => (await fleet.evidence.claim(key)) === undefined);
  }

  it.each<[string, string, object, string]>([
    ['a refund of an authorized payment', 'refunds', {}, 'payment_not_refundable'],
    ['a capture of too much', 'capture', { amount: AMOUNT + 1 }, 'amount_too_large'],
    ['a cancel of a captured payment', 'cancel', {}, 'payment_not_cancelable'],
  ])('stays refused after its lifetime, with the first answer: %s', async (_what, action, body, code) => {
    const id = await newPayment(first, MANUAL);
    if (action === 'cancel') await post(first, `/v1/payments/${id}/capture`);
    const key = newKey();
    const refused = await post(first, `/v1/payments/${id}/${action}`, { key, body });
    expect(refused).toMatchObject({ status: 409, json: { code, effect: 'none' } });
    await retentionIsOver();
    // By now the refund would be possible.
    if (action === 'refunds') await post(first, `/v1/payments/${id}/capture`);

    const again = await post(second, `/v1/payments/${id}/${action}`, { key, body });
    expect(again.status).toBe(409);
    expect(again.body).toBe(refused.body);
    expect(isReplay(again)).toBe(true);
    expect((await get(second, `/v1/payments/${id}`)).json).toMatchObject({ amount_refunded: 0 });
  });

  it('is still refused to another body, as a key that was used', async () => {
    const id = await newPayment(first, MANUAL);
    const key = newKey();
    await post(first, `/v1/payments/${id}/refunds`, { key, body: { amount: 1 } });
    await retentionIsOver();
    const other = await post(second, `/v1/payments/${id}/refunds`, { key, body: { amount: 2 } });
    expect(other).toMatchObject({ status: 422, json: { code: 'idempotency_key_reused' } });
  });
});
