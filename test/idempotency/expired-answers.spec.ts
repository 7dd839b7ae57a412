import type { Statement } from '../../src/database/pipelined-transactions.js';
import type { Claim } from '../../src/idempotency/claims.store.js';
import { ExpiredAnswersStore } from '../../src/idempotency/expired-answers.store.js';
import {
  ANSWER,
  claimRequest,
  LONG_LEASE_MS,
  NO_LEASE_MS,
  RETENTION_MS,
  WritePath,
} from '../support/write-path.js';

describe('answers whose lifetime is over', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterEach(() => db.query('DELETE FROM idempotency_keys'));
  afterAll(() => db.close());

  async function answered(retentionMs: number): Promise<Claim> {
    const [claim] = await db.take([claimRequest()], LONG_LEASE_MS);
    await db.transactions.run((tx) => [
      db.claims.complete(tx, [{ claim: claim!, answer: ANSWER, onlyHere: false }], retentionMs),
    ]);
    return claim!;
  }

  it('are deleted with their claims, and no other row is touched', async () => {
    const old = await answered(0);
    const fresh = await answered(RETENTION_MS);
    const [running] = await db.take([claimRequest()], LONG_LEASE_MS);
    const [abandoned] = await db.take([claimRequest()], NO_LEASE_MS);
    expect(await db.expiredAnswers.reap(100, null)).toEqual({ count: 1, through: expect.any(Date) });
    const left = await db.claims.find([old, fresh, running!, abandoned!]);
    expect(new Set(left.map((claim) => claim.claimId))).toEqual(
      new Set([fresh.claimId, running!.claimId, abandoned!.claimId]),
    );
  });

  it('are all deleted by batches that each go on where the one before ended', async () => {
    for (let n = 0; n < 10; n += 1) await answered(0);
    // Some of them expire at the same moment, between two batches.
    await db.query(`UPDATE idempotency_keys SET expires_at = date_trunc('second', expires_at)`);
    const counts: number[] = [];
    let from: Date | null = null;
    do {
      const { count, through } = await db.expiredAnswers.reap(3, from);
      counts.push(count);
      from = through;
    } while (from !== null);
    expect(counts).toEqual([3, 3, 3, 1, 0]);
    expect(await db.query('SELECT FROM idempotency_keys')).toEqual([]);
  });

  it('are left to another process that has them locked, and deleted by a later run', async () => {
    const { idempotencyKey } = await answered(0);
    const later = await answered(0);
    const other = db.dataSource.createQueryRunner();
    await other.startTransaction();
    await other.query('SELECT FROM idempotency_keys WHERE idempotency_key = $1 FOR UPDATE', [idempotencyKey]);
    const { count, through } = await db.expiredAnswers.reap(100, null);
    expect(count).toBe(1);
    expect(await db.claims.find([later])).toEqual([]);
    await other.rollbackTransaction();
    await other.release();
    expect(through).not.toBeNull();
    expect(await db.expiredAnswers.reap(100, null)).toMatchObject({ count: 1 });
    expect(await db.query('SELECT FROM idempotency_keys')).toEqual([]);
  });

  it('are not walked over again by a batch that goes on where the one before ended', async () => {
    await db.query(
      `INSERT INTO idempotency_keys
         (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status, attempt,
           lease_expires_at, response_status, response_content_type, response_body, expires_at)
       SELECT gen_random_uuid(), n::text, gen_random_uuid(), 'charge', '', gen_random_uuid(), 'completed', 1,
         now(), 201, '', '', now() - interval '1 hour' + n * interval '10 milliseconds'
       FROM generate_series(1, 40000) n`,
    );
    const { through } = await db.expiredAnswers.reap(39_000, null);
    const walked = await pagesRead(null);
    const goingOn = await pagesRead(through);
    expect(walked).toBeGreaterThan(100);
    expect(goingOn).toBeLessThan(walked / 3);
  });

  /** How many pages the store's statement reads for a batch of ten. */
  async function pagesRead(from: Date | null): Promise<number> {
    let sent: Statement | undefined;
    const read = (statement: Statement): Promise<never[]> => {
      sent = statement;
      return Promise.resolve([]);
    };
    await new ExpiredAnswersStore({ read } as never).reap(10, from);
    const [row] = await db.query<{ 'QUERY PLAN': { Plan: { 'Shared Hit Blocks': number } }[] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${sent!.text}`,
      sent!.values,
    );
    return row!['QUERY PLAN'][0]!.Plan['Shared Hit Blocks'];
  }
});
