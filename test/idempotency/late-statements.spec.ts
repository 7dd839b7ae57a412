import { v7 as uuidv7 } from 'uuid';
import type { Transaction } from '../../src/database/pipelined-transactions.js';
import type { Claim, ClaimRequest } from '../../src/idempotency/claims.store.js';
import {
  ANSWER,
  claimRequest,
  LONG_LEASE_MS,
  newPayment,
  NO_LEASE_MS,
  RETENTION_MS,
  without,
  WritePath,
  type Guards,
} from '../support/write-path.js';

type Statements = (tx: Transaction) => readonly Promise<unknown>[];

/**
 * A proxy may hold a transaction's bytes after our side of the connection is gone. The request is then answered by what
 * another connection did, and the bytes arrive afterwards. Each test sends a transaction only after its request has been
 * answered, and expects that no row changes.
 */
describe('a transaction that arrives after its request was answered', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterAll(() => db.close());

  const again = (request: ClaimRequest): ClaimRequest =>
    claimRequest({ ...request, claimId: uuidv7(), resourceId: uuidv7() });

  const reserving =
    (request: ClaimRequest, guards: Guards = (tx) => tx): Statements =>
    (tx) => [
      db.claims.take(guards(tx), [request], LONG_LEASE_MS),
      db.payments.insertPending(tx, [newPayment(request)]),
    ];

  const releasing =
    (claim: Claim): Statements =>
    (tx) => [db.claims.release(tx, [claim]), db.payments.deletePending(tx, [claim])];

  const completing =
    (claim: Claim, body: string): Statements =>
    (tx) => [db.claims.complete(tx, [{ claim, answer: { ...ANSWER, body }, onlyHere: false }], RETENTION_MS)];

  const run = (statements: Statements) => db.transactions.run(statements);

  /** All rows that a charge may have, with the claim's whole state. */
  const rows = () =>
    Promise.all(
      ['idempotency_keys', 'payments', 'ledger_entries', 'events'].map((table) =>
        db.query(`SELECT t::text FROM ${table} t ORDER BY 1`),
      ),
    );

  /** Sends the transaction and returns the rows that are new or different afterwards, of any table. */
  async function changedBy(late: Statements): Promise<unknown[]> {
    const before = new Set((await rows()).flat().map((row) => JSON.stringify(row)));
    await run(late);
    const after = (await rows()).flat().map((row) => JSON.stringify(row));
    return after.filter((row) => !before.delete(row)).concat([...before]);
  }

  /** A charge that was refused before any effect: its key is released. */
  async function released(request = claimRequest()): Promise<Claim> {
    const claim = await db.reserve(LONG_LEASE_MS, request);
    await run(releasing(claim));
    return claim;
  }

  describe('a reservation', () => {
    it('does not take the claim that its own request has released', async () => {
      const request = claimRequest();
      await released(request);
      expect(await changedBy(reserving(request))).toEqual([]);
    });

    it('does not take the claim that a later request has released', async () => {
      const request = claimRequest();
      await released(request);
      const second = await db.see(again(request));
      await run(reserving(second!));
      await run(releasing((await db.claims.find([request]))[0]!));
      expect(await changedBy(reserving(request))).toEqual([]);
      expect(await changedBy(reserving(second!))).toEqual([]);
    });

    it('control: without the attempt, it takes the released claim, and recovery would charge', async () => {
      const request = claimRequest();
      await released(request);
      const second = await db.see(again(request));
      await run(reserving(second!));
      await run(releasing((await db.claims.find([request]))[0]!));
      await run(reserving(second!, without('claims.retake', 'AND k.attempt = i.seen_attempt')));
      expect(await db.claims.find([request])).toMatchObject([{ status: 'in_progress' }]);
    });

    it('does not take a claim whose lease has run out since', async () => {
      const request = claimRequest();
      await db.reserve(NO_LEASE_MS, request);
      expect(await changedBy(reserving(again(request)))).toEqual([]);
    });

    it('does not take a claim over that another has taken over and lost as well', async () => {
      const request = claimRequest();
      await db.reserve(NO_LEASE_MS, request);
      const late = await db.see(again(request));
      await db.openClaims.takeIdle(['charge'], [request], NO_LEASE_MS);
      expect(await changedBy(reserving(late!))).toEqual([]);
    });

    it('finds its row after the reaper has been, because a released claim is not reaped', async () => {
      const request = claimRequest();
      await released(request);
      await db.expiredAnswers.reap(1_000, null);
      expect(await changedBy(reserving(request))).toEqual([]);
    });

    it('makes no second payment of one whose answer was reaped', async () => {
      const request = claimRequest();
      const claim = await db.reserve(LONG_LEASE_MS, request);
      await db.settle(claim);
      await db.query('DELETE FROM idempotency_keys WHERE idempotency_key = $1', [request.idempotencyKey]);
      await run(reserving(again(request)));
      // The claim is new, but recovery finds the payment as it was settled and only stores its answer again.
      expect(
        await db.query('SELECT status FROM payments WHERE idempotency_key = $1', [request.idempotencyKey]),
      ).toEqual([{ status: 'completed' }]);
    });
  });

  describe('the end of an attempt', () => {
    it('completes nothing once the claim was released, taken again or completed', async () => {
      const first = await released();
      expect(await changedBy(completing(first, '"late"'))).toEqual([]);
      await run(reserving((await db.see(again(claimRequest({ ...first }))))!));
      expect(await changedBy(completing(first, '"late"'))).toEqual([]);
      const [second] = await db.claims.find([first]);
      await run(completing(second!, '"first"'));
      expect(await changedBy(completing(second!, '"late"'))).toEqual([]);
      expect(await changedBy(completing(first, '"late"'))).toEqual([]);
    });

    it('releases nothing once the claim was completed or taken over', async () => {
      const settled = await db.reserve(LONG_LEASE_MS);
      await db.settle(settled);
      expect(await changedBy(releasing(settled))).toEqual([]);
      const lost = await db.reserve(NO_LEASE_MS);
      await db.openClaims.takeIdle(['charge'], [lost], LONG_LEASE_MS);
      expect(await changedBy(releasing(lost))).toEqual([]);
    });

    it('postpones nothing once the claim was completed, released or taken over', async () => {
      const postponing =
        (claim: Claim): Statements =>
        (tx) => [
          db.openClaims.postpone(tx, claim, 'unknown', LONG_LEASE_MS),
          db.payments.countPending(tx, claim, claim.resourceId),
        ];
      const settled = await db.reserve(LONG_LEASE_MS);
      await db.settle(settled);
      expect(await changedBy(postponing(settled))).toEqual([]);
      expect(await changedBy(postponing(await released()))).toEqual([]);
      const lost = await db.reserve(NO_LEASE_MS);
      await db.openClaims.takeIdle(['charge'], [lost], LONG_LEASE_MS);
      expect(await changedBy(postponing(lost))).toEqual([]);
    });
  });

  describe('a seal', () => {
    const reversal = (): Promise<Claim> =>
      db.take([claimRequest({ operation: 'reversal' })], LONG_LEASE_MS).then(([claim]) => claim!);

    it('bars nothing once its reversal was answered, so that a new request with the key is carried out', async () => {
      const by = await reversal();
      const key = claimRequest();
      await run(completing(by, '"given up"'));
      expect(await db.sealedKeys.seal(key, by, 'true')).toBe(false);
      expect(await db.take([key], LONG_LEASE_MS)).toMatchObject([{ attempt: 1 }]);
    });

    it('bars nothing once its reversal has gone to another attempt', async () => {
      const by = await reversal();
      await db.query(`UPDATE idempotency_keys SET lease_expires_at = now() WHERE claim_id = $1`, [
        by.claimId,
      ]);
      await db.openClaims.takeIdle(['reversal'], [by], LONG_LEASE_MS);
      expect(await db.sealedKeys.seal(claimRequest(), by, 'true')).toBe(false);
    });

    it('bars a new and a released key while the reversal runs', async () => {
      const by = await reversal();
      const unused = claimRequest();
      for (const key of [unused, await released()]) {
        expect(await db.sealedKeys.seal(key, by, 'true')).toBe(true);
        expect(await db.claims.find([key])).toMatchObject([{ status: 'reversed' }]);
      }
      expect(await changedBy(reserving(unused))).toEqual([]);
    });
  });

  describe('a settlement', () => {
    it('that arrives after the same settlement came through on another connection writes nothing', async () => {
      const claim = await db.reserve(LONG_LEASE_MS);
      await db.settle(claim);
      const before = await rows();
      expect(await db.settle(claim)).toBe(false);
      expect(await rows()).toEqual(before);
    });
  });
});
