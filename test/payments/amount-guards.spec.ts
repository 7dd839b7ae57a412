import type { Claim } from '../../src/idempotency/claims.store.js';
import { AMOUNT } from '../support/client.js';
import {
  asItIs,
  claimRequest,
  type Guards,
  LONG_LEASE_MS,
  MERCHANT,
  without,
  WritePath,
} from '../support/write-path.js';

const CHECK_VIOLATION = '23514';

describe('the amounts of a payment', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterAll(() => db.close());

  /** A completed payment of {@link AMOUNT}. */
  async function completed(): Promise<Claim> {
    const claim = await db.reserve(LONG_LEASE_MS);
    expect(await db.settle(claim)).toBe(true);
    return claim;
  }

  async function authorized(): Promise<Claim> {
    const claim = await db.reserve(LONG_LEASE_MS);
    await db.query(`UPDATE payments SET status = 'authorized' WHERE transaction_id = $1`, [claim.resourceId]);
    return claim;
  }

  async function reserveRefund(payment: Claim, amount: bigint, guards: Guards = asItIs): Promise<void> {
    const request = claimRequest({ operation: 'refund' });
    await db.transactions.run((tx) => [
      db.claims.take(tx, [request], LONG_LEASE_MS),
      db.payments.reserveRefunds(guards(tx), [{ ...request, transactionId: payment.resourceId, amount }]),
    ]);
  }

  async function refunded(payment: Claim): Promise<number> {
    const [row] = await db.query<{ amount_refunded: string }>(
      'SELECT amount_refunded FROM payments WHERE transaction_id = $1',
      [payment.resourceId],
    );
    return Number(row?.amount_refunded);
  }

  async function hold(payment: Claim, guards: Guards = asItIs): Promise<boolean> {
    const request = claimRequest({ operation: 'capture', resourceId: payment.resourceId });
    const [, held] = await db.transactions.run((tx) => [
      db.claims.take(tx, [request], LONG_LEASE_MS),
      db.payments.hold(guards(tx), [{ ...request, transactionId: payment.resourceId, amount: null }]),
    ]);
    return held.length === 1;
  }

  const REFUND_GUARD = 'AND p.amount_refunded + coalesce(t.amount, 0) <= p.amount_captured';

  it('a refund is reserved only if it fits', async () => {
    const payment = await completed();
    await reserveRefund(payment, BigInt(AMOUNT) - 1n);
    await reserveRefund(payment, 2n);
    expect(await refunded(payment)).toBe(AMOUNT - 1);
  });

  it('control: without the guard, the CHECK still refuses it, as an error instead of an answer', async () => {
    const payment = await completed();
    const tooMuch = reserveRefund(
      payment,
      BigInt(AMOUNT) + 1n,
      without('payments.reserve_refunds', REFUND_GUARD),
    );
    await expect(tooMuch).rejects.toMatchObject({ cause: { code: CHECK_VIOLATION } });
    expect(await refunded(payment)).toBe(0);
  });

  it('control: without guard and CHECK, more goes back than came in', async () => {
    const payment = await completed();
    await db.query('ALTER TABLE payments DROP CONSTRAINT payments_limits');
    try {
      const guards = without('payments.reserve_refunds', REFUND_GUARD);
      await reserveRefund(payment, BigInt(AMOUNT) + 1n, guards);
      expect(await refunded(payment)).toBe(AMOUNT + 1);
    } finally {
      await db.query('UPDATE payments SET amount_refunded = 0 WHERE transaction_id = $1', [
        payment.resourceId,
      ]);
      await db.query(`ALTER TABLE payments ADD CONSTRAINT payments_limits CHECK (
        0 <= amount_refunded AND amount_refunded <= amount_captured AND amount_captured <= amount)`);
    }
  });

  it('no merchant can refund another merchant’s payment', async () => {
    const payment = await completed();
    const request = claimRequest({ merchantId: MERCHANT.replace('a', 'b') });
    await db.transactions.run((tx) => [
      db.claims.take(tx, [request], LONG_LEASE_MS),
      db.payments.reserveRefunds(tx, [{ ...request, transactionId: payment.resourceId, amount: 1n }]),
    ]);
    expect(await refunded(payment)).toBe(0);
  });

  it('of two captures only one gets the hold', async () => {
    const payment = await authorized();
    expect([await hold(payment), await hold(payment)]).toEqual([true, false]);
  });

  it('control: without the guard, both get it', async () => {
    const payment = await authorized();
    const guards = without(
      'payments.hold',
      'AND (p.held_by IS NULL OR p.held_by IN (t.gateway_key, t.claim_id))',
    );
    expect([await hold(payment, guards), await hold(payment, guards)]).toEqual([true, true]);
  });
});
