import { LONG_LEASE_MS, WritePath, type Guards } from '../support/write-path.js';

const STATEMENTS_AROUND = ['claims.complete', 'events.append'];

describe('the update of a payment by a charge that succeeds', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterAll(() => db.close());

  /** Settles a charge, and returns how many updates of payments touched no index, and how many there were. */
  async function settle(): Promise<{ inPlace: number; all: number }> {
    const claim = await db.reserve(LONG_LEASE_MS);
    const counts: Promise<{ rows: { inPlace: number; all: number }[] }>[] = [];
    const counting: Guards = (tx) => ({
      token: tx.token,
      query: (statement) => {
        const answer = tx.query(statement);
        if (!STATEMENTS_AROUND.includes(statement.name)) return answer as never;
        // PostgreSQL counts for the connection, so what an earlier transaction did has to be subtracted.
        counts.push(
          tx.query({
            name: 'updates of payments',
            text: `SELECT n_tup_hot_upd::int AS "inPlace", n_tup_upd::int AS "all"
              FROM pg_stat_xact_user_tables WHERE relname = 'payments'`,
            values: [],
          }),
        );
        return answer as never;
      },
    });
    expect(await db.settle(claim, counting)).toBe(true);
    const [before, after] = (await Promise.all(counts)).map(({ rows }) => rows[0]!);
    return { inPlace: after!.inPlace - before!.inPlace, all: after!.all - before!.all };
  }

  it('touches no index', async () => {
    expect(await settle()).toEqual({ inPlace: 1, all: 1 });
  });

  it('control: an index that knows the status is touched', async () => {
    await db.query(`CREATE INDEX payments_not_pending ON payments (merchant_id) WHERE status <> 'pending'`);
    expect(await settle()).toEqual({ inPlace: 0, all: 1 });
  });
});
