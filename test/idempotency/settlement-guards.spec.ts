import { v7 as uuidv7 } from 'uuid';
import type { Claim } from '../../src/idempotency/claims.store.js';
import {
  asItIs,
  claimRequest,
  type Guards,
  LONG_LEASE_MS,
  newPayment,
  NO_LEASE_MS,
  withoutItsMark,
  WritePath,
} from '../support/write-path.js';

describe('what follows a claim in its transaction', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterAll(() => db.close());

  /** A claim as its first owner knows it. Another owner has taken it over and still works on it. */
  async function lostClaim(): Promise<Claim> {
    const request = claimRequest();
    const lost = await db.reserve(NO_LEASE_MS, request);
    await db.take([claimRequest({ ...request, claimId: uuidv7() })], LONG_LEASE_MS);
    return lost;
  }

  it('a settlement writes its payment, postings and event once, and writes nothing when it is repeated', async () => {
    const claim = await db.reserve(LONG_LEASE_MS);
    expect(await db.settle(claim)).toBe(true);
    const written = { claim: 'completed 1', payment: 'completed', postings: 2, events: 1 };
    expect(await db.rowsOf(claim)).toEqual(written);
    expect(await db.settle(claim)).toBe(false);
    expect(await db.rowsOf(claim)).toEqual(written);
  });

  it('a settlement by an owner that lost its claim writes nothing at all', async () => {
    const claim = await lostClaim();
    expect(await db.settle(claim)).toBe(false);
    expect(await db.rowsOf(claim)).toEqual({
      claim: 'in_progress 2',
      payment: 'pending',
      postings: 0,
      events: 0,
    });
  });

  it.each<[string, string, object]>([
    ['payments.settle', 'the payment', { payment: 'completed' }],
    ['ledger.append', 'postings', { postings: 2 }],
    ['events.append', 'an event', { events: 1 }],
  ])('control: without its mark, %s lets that owner write %s', async (statement, _what, damage) => {
    const claim = await lostClaim();
    expect(await db.settle(claim, withoutItsMark(statement))).toBe(false);
    expect(await db.rowsOf(claim)).toMatchObject(damage);
  });

  it('control: without its mark, ledger.append books a settlement twice', async () => {
    const claim = await db.reserve(LONG_LEASE_MS);
    await db.settle(claim);
    expect(await db.settle(claim, withoutItsMark('ledger.append'))).toBe(false);
    expect(await db.rowsOf(claim)).toMatchObject({ postings: 4 });
  });

  it('control: without its mark, only the event’s number stops events.append', async () => {
    const claim = await db.reserve(LONG_LEASE_MS);
    await db.settle(claim);
    const twice = db.settle(claim, withoutItsMark('events.append'));
    await expect(twice).rejects.toMatchObject({ cause: { constraint: 'events_sequence' } });
  });

  describe('a payment is reserved for its claim', () => {
    async function reserveAgain(key: ReturnType<typeof claimRequest>, guards: Guards = asItIs) {
      const later = claimRequest({ ...key, claimId: uuidv7(), resourceId: uuidv7() });
      const request = (await db.see(later)) ?? later;
      const [, reserved] = await db.transactions.run((tx) => [
        db.claims.take(tx, [request], LONG_LEASE_MS),
        db.payments.insertPending(guards(tx), [newPayment(request)]),
      ]);
      return reserved;
    }

    it('and for no request that did not get the claim', async () => {
      const request = claimRequest();
      await db.take([request], LONG_LEASE_MS);
      expect(await reserveAgain(request)).toEqual([]);
      expect(await db.rowsOf(request)).toMatchObject({
        payment: undefined,
      });
    });

    it('control: without its mark, any request makes a payment for another’s claim', async () => {
      const request = claimRequest();
      await db.take([request], LONG_LEASE_MS);
      expect(await reserveAgain(request, withoutItsMark('payments.insert_pending'))).toHaveLength(1);
    });

    it('only once: an owner that takes the claim over finds that payment and makes no second one', async () => {
      const request = claimRequest();
      const claim = await db.reserve(NO_LEASE_MS, request);
      expect(await reserveAgain(request)).toEqual([]);
      expect(await db.rowsOf(claim)).toMatchObject({ claim: 'in_progress 2', payment: 'pending' });
    });
  });

  describe('a release deletes its pending payment', () => {
    async function release(claim: Claim, guards: Guards = asItIs): Promise<void> {
      await db.transactions.run((tx) => [
        db.claims.release(tx, [claim]),
        db.payments.deletePending(guards(tx), [claim]),
      ]);
    }

    it('when the claim is its own', async () => {
      const claim = await db.reserve(LONG_LEASE_MS);
      await release(claim);
      expect(await db.rowsOf(claim)).toMatchObject({ claim: 'released 1', payment: undefined });
    });

    it('but not when the claim has gone to another', async () => {
      const claim = await lostClaim();
      await release(claim);
      expect(await db.rowsOf(claim)).toMatchObject({ claim: 'in_progress 2', payment: 'pending' });
    });

    it('control: without its mark, it deletes the other owner’s payment', async () => {
      const claim = await lostClaim();
      await release(claim, withoutItsMark('payments.delete_pending'));
      expect(await db.rowsOf(claim)).toMatchObject({ claim: 'in_progress 2', payment: undefined });
    });
  });
});
