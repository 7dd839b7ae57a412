import { v7 as uuidv7 } from 'uuid';
import { OpenClaimsStore } from '../../src/idempotency/open-claims.store.js';
import {
  ANSWER,
  asItIs,
  claimRequest,
  type Guards,
  LONG_LEASE_MS,
  NO_LEASE_MS,
  RETENTION_MS,
  without,
  WritePath,
} from '../support/write-path.js';

describe('claims', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterAll(() => db.close());

  /** The same request again, as another process sends it. */
  const again = (request: ReturnType<typeof claimRequest>, changes = {}) =>
    claimRequest({ ...request, claimId: uuidv7(), resourceId: uuidv7(), ...changes });

  it('of one key go to one of many processes that ask at once', async () => {
    const request = claimRequest();
    const taken = await Promise.all(
      Array.from({ length: 3 }, () => db.take([again(request)], LONG_LEASE_MS)),
    );
    expect(taken.flat()).toHaveLength(1);
  });

  it('are found again by the request that made them, if its first commit may have been lost', async () => {
    const request = claimRequest();
    const [first] = await db.take([request], LONG_LEASE_MS);
    expect(await db.take([request], LONG_LEASE_MS)).toEqual([{ ...first, attempt: 2 }]);
  });

  it('show that request that another has worked on its claim since, and may have called the gateway', async () => {
    const request = claimRequest();
    await db.take([request], NO_LEASE_MS);
    await db.openClaims.takeIdle(['charge'], [request], LONG_LEASE_MS);
    expect(await db.take([request], LONG_LEASE_MS)).toMatchObject([{ attempt: 3, resumed: true }]);
  });

  describe('the lease', () => {
    it('keeps a claim from every other request while it runs', async () => {
      const request = claimRequest();
      await db.take([request], LONG_LEASE_MS);
      expect(await db.take([again(request)], LONG_LEASE_MS)).toEqual([]);
    });

    it('gives the claim away once it has run out, under the same claim id and with the next attempt', async () => {
      const request = claimRequest();
      const [first] = await db.take([request], NO_LEASE_MS);
      expect(await db.take([again(request)], LONG_LEASE_MS)).toEqual([
        { ...first, attempt: 2, resumed: true },
      ]);
    });

    it('control: without it, a claim that is being worked on is taken over', async () => {
      const request = claimRequest();
      await db.take([request], LONG_LEASE_MS);
      const unguarded = without('claims.retake', 'k.lease_expires_at <= statement_timestamp()', 'true');
      expect(await db.take([again(request)], LONG_LEASE_MS, unguarded)).toMatchObject([{ attempt: 2 }]);
    });

    it('keeps a claim from recovery while it runs, and control: without it, recovery takes it', async () => {
      const request = claimRequest();
      await db.take([request], LONG_LEASE_MS);
      const keyOf = (claim: { idempotencyKey: string }) => claim.idempotencyKey;
      expect((await db.openClaims.takeExpired(['charge'], LONG_LEASE_MS, 100)).map(keyOf)).not.toContain(
        request.idempotencyKey,
      );
      const control = unguardedClaims(
        without('open_claims.take_expired', 'AND lease_expires_at <= clock_timestamp()'),
      );
      expect((await control.takeExpired(['charge'], LONG_LEASE_MS, 100)).map(keyOf)).toContain(
        request.idempotencyKey,
      );
    });

    it('that ran out is given to one of several recovery workers', async () => {
      const requests = Array.from({ length: 5 }, () => claimRequest()).toSorted((a, b) =>
        a.idempotencyKey < b.idempotencyKey ? -1 : 1,
      );
      await db.take(requests, NO_LEASE_MS);
      const taken = await Promise.all(
        [1, 2, 3].map(() => db.openClaims.takeExpired(['charge'], LONG_LEASE_MS, 100)),
      );
      const keys = taken.flat().map((claim) => claim.idempotencyKey);
      for (const { idempotencyKey } of requests)
        expect(keys.filter((key) => key === idempotencyKey)).toHaveLength(1);
    });
  });

  describe('the fingerprint', () => {
    it('keeps a claim from another request, even when the lease has run out', async () => {
      const request = claimRequest();
      await db.take([request], NO_LEASE_MS);
      expect(await db.take([again(request, { fingerprint: 'v1:other' })], LONG_LEASE_MS)).toEqual([]);
    });

    it('control: without it, another request takes the key over', async () => {
      const request = claimRequest();
      await db.take([request], NO_LEASE_MS);
      const unguarded = without('claims.retake', 'OR i.continued AND', 'OR');
      const other = again(request, { fingerprint: 'v1:other' });
      expect(await db.take([other], LONG_LEASE_MS, unguarded)).toMatchObject([{ fingerprint: 'v1:other' }]);
    });

    it('no longer counts for a released key: another request gets a claim of its own', async () => {
      const [claim] = await db.take([claimRequest()], LONG_LEASE_MS);
      await db.transactions.run((tx) => [db.claims.release(tx, [claim!])]);
      const other = again(claim!, { fingerprint: 'v1:other' });
      expect(await db.take([other], LONG_LEASE_MS)).toEqual([{ ...other, attempt: 2 }]);
    });

    it('of a released key keeps its claim id, so that the gateway sees one key', async () => {
      const [claim] = await db.take([claimRequest()], LONG_LEASE_MS);
      await db.transactions.run((tx) => [db.claims.release(tx, [claim!])]);
      expect(await db.take([again(claim!)], LONG_LEASE_MS)).toEqual([{ ...claim, attempt: 2 }]);
    });
  });

  describe('the fence', () => {
    /** A claim's first owner, after a second one has taken the claim over. */
    async function lostClaim() {
      const request = claimRequest();
      const [lost] = await db.take([request], NO_LEASE_MS);
      const [current] = await db.take([again(request)], LONG_LEASE_MS);
      return { lost: lost!, current: current! };
    }

    async function complete(
      claim: Parameters<WritePath['settle']>[0],
      body: string,
      guards: Guards = asItIs,
    ) {
      const [completed] = await db.transactions.run((tx) => [
        db.claims.complete(
          guards(tx),
          [{ claim, answer: { ...ANSWER, body }, onlyHere: false }],
          RETENTION_MS,
        ),
      ]);
      return completed.has(claim.claimId);
    }

    async function postpone(claim: Parameters<WritePath['settle']>[0], guards: Guards = asItIs) {
      const [due] = await db.transactions.run((tx) => [
        db.openClaims.postpone(guards(tx), claim, 'unknown', LONG_LEASE_MS),
      ]);
      return due;
    }

    async function stateOf(claim: Parameters<WritePath['settle']>[0]) {
      const [state] = await db.claims.find([claim]);
      return { status: state?.status, body: state?.answer?.body, leaseExpired: state?.leaseExpired };
    }

    const WORKED_ON = { status: 'in_progress', body: undefined, leaseExpired: false };

    it('keeps an owner that lost its claim from completing, releasing or expiring it', async () => {
      const { lost } = await lostClaim();
      expect(await complete(lost, '"late"')).toBe(false);
      expect(await db.transactions.run((tx) => [db.claims.release(tx, [lost])])).toEqual([0]);
      expect(await postpone(lost)).toBe(false);
      expect(await stateOf(lost)).toEqual(WORKED_ON);
    });

    it('control: without the attempt, the late owner completes it', async () => {
      const { lost } = await lostClaim();
      const unguarded = without('claims.complete', 'AND k.attempt = i.attempt');
      expect(await complete(lost, '"late"', unguarded)).toBe(true);
      expect((await stateOf(lost)).body).toBe('"late"');
    });

    it('control: without the attempt, the late owner releases it', async () => {
      const { lost } = await lostClaim();
      const unguarded = without('claims.release', 'AND k.attempt = i.attempt');
      expect(await db.transactions.run((tx) => [db.claims.release(unguarded(tx), [lost])])).toEqual([1]);
    });

    it('control: without the attempt, the late owner ends the other owner’s lease', async () => {
      const { lost } = await lostClaim();
      await postpone(lost, without('open_claims.postpone', 'AND k.attempt = i.attempt'));
      expect((await stateOf(lost)).leaseExpired).toBe(true);
    });

    it('keeps a stored answer from being replaced, even by its own attempt', async () => {
      const { current } = await lostClaim();
      expect(await complete(current, '"first"')).toBe(true);
      expect(await complete(current, '"second"')).toBe(false);
      expect((await stateOf(current)).body).toBe('"first"');
    });

    it('control: without the state, a second completion replaces the answer', async () => {
      const { current } = await lostClaim();
      await complete(current, '"first"');
      const unguarded = without(
        'claims.complete',
        `AND k.status NOT IN ('completed', 'released', 'reversed')`,
      );
      expect(await complete(current, '"second"', unguarded)).toBe(true);
      expect((await stateOf(current)).body).toBe('"second"');
    });
  });

  /** For the statements that the store sends outside a caller's transaction. */
  function unguardedClaims(guards: Guards): OpenClaimsStore {
    return new OpenClaimsStore({
      read: async (statement: never) => {
        const [{ rows }] = await db.transactions.run((tx) => [guards(tx).query(statement)]);
        return rows;
      },
    } as never);
  }
});
