import { Logger } from '@nestjs/common';
import { OpenClaimsStore } from '../../src/idempotency/open-claims.store.js';
import type { AnyOperation } from '../../src/idempotency/operation.js';
import { OperationRegistry } from '../../src/idempotency/operation.registry.js';
import { MAX_RESUMED, OperationResumer } from '../../src/idempotency/operation.resumer.js';
import type { Claim } from '../../src/idempotency/claims.store.js';
import { Metrics } from '../../src/metrics/metrics.js';
import { Clock } from '../../src/time/clock.js';
import {
  claimRequest,
  LONG_LEASE_MS,
  NO_LEASE_MS,
  without,
  WritePath,
  type Guards,
} from '../support/write-path.js';

/** What a process does not know that was started before the operation existed. */
const NEWER = 'added_by_a_newer_version';

describe('a claim of an operation that this process does not know', () => {
  let db: WritePath;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    db = await WritePath.open();
  });
  beforeEach(() => db.query('DELETE FROM idempotency_keys'));
  afterAll(() => db.close());

  /** The resumer of a process that knows only this operation. What it continues, it lists. */
  function processThatKnows(name: string): { resumer: OperationResumer; resumed: Claim[] } {
    const resumed: Claim[] = [];
    const operations = new OperationRegistry();
    const operation = { name, resume: async (claim: Claim) => void resumed.push(claim) };
    operations.register([operation as unknown as AnyOperation]);
    const resumer = new OperationResumer(
      { idempotencyLeaseMs: LONG_LEASE_MS } as never,
      db.openClaims,
      operations,
      { execute: async () => ({ status: 200 }) } as never,
      new Clock(),
      new Metrics(),
    );
    return { resumer, resumed };
  }

  async function abandoned(operation: string, count = 1): Promise<Claim[]> {
    const claims: Claim[] = [];
    for (let n = 0; n < count; n += 1)
      claims.push(...(await db.take([claimRequest({ operation })], NO_LEASE_MS)));
    await db.query(`UPDATE idempotency_keys SET recover_after = clock_timestamp() WHERE operation = $1`, [
      operation,
    ]);
    return claims;
  }

  const rows = (operation: string) =>
    db.query(`SELECT *, xmin FROM idempotency_keys WHERE operation = $1 ORDER BY idempotency_key`, [
      operation,
    ]);

  it('stays exactly as it is, whether recovery or a request asks for it', async () => {
    const claims = await abandoned(NEWER);
    const before = await rows(NEWER);
    const { resumer, resumed } = processThatKnows('charge');
    expect(await resumer.resumeExpired()).toBe(0);
    await resumer.resumeNow(claims);
    expect(resumed).toEqual([]);
    expect(await rows(NEWER)).toEqual(before);
  });

  it('is continued by a process that knows it, as its second attempt', async () => {
    const [claim] = await abandoned(NEWER);
    await processThatKnows('charge').resumer.resumeExpired();
    const { resumer, resumed } = processThatKnows(NEWER);
    expect(await resumer.resumeExpired()).toBe(1);
    expect(resumed).toEqual([{ ...claim, attempt: 2, resumed: true }]);
  });

  it('does not stand in the way of claims that are known', async () => {
    await abandoned(NEWER, MAX_RESUMED);
    const [claim] = await abandoned('charge');
    const { resumer, resumed } = processThatKnows('charge');
    expect(await resumer.resumeExpired()).toBe(1);
    expect(resumed).toMatchObject([{ claimId: claim?.claimId }]);
  });

  it('control: without the names, recovery takes it', async () => {
    await abandoned(NEWER);
    const unguarded = openClaims(
      without('open_claims.take_expired', 'operation = ANY ($3::text[])', '$3::text[] IS NOT NULL'),
    );
    expect(await unguarded.takeExpired(['charge'], LONG_LEASE_MS, 1)).toMatchObject([{ operation: NEWER }]);
  });

  it('control: without the names, a request for it takes it', async () => {
    const claims = await abandoned(NEWER);
    const unguarded = openClaims(
      without('open_claims.take_idle', 'k.operation = ANY ($4::text[])', '$4::text[] IS NOT NULL'),
    );
    expect(await unguarded.takeIdle(['charge'], claims, LONG_LEASE_MS)).toMatchObject([{ operation: NEWER }]);
  });

  function openClaims(guards: Guards): OpenClaimsStore {
    const send = async (statement: never) => {
      const [{ rows: taken }] = await db.transactions.run((tx) => [guards(tx).query(statement)]);
      return taken;
    };
    return new OpenClaimsStore({
      read: send,
      writeBeside: (_subject: string, statement: never) => send(statement),
    } as never);
  }
});
