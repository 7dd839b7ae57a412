import { Balances1764600000000 } from '../../migrations/1764600000000-balances.js';
import { LedgerChecks1765200000000 } from '../../migrations/1765200000000-ledger-checks.js';
import { BalancesStore } from '../../src/ledger/balances.store.js';
import { AT_ONCE, book, snapshotWorker } from '../support/ledger.js';
import { MERCHANT, WritePath } from '../support/write-path.js';

describe('the migration for balances', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterAll(() => db.close());

  it('counts earlier bookings once, and can be reverted and run again', async () => {
    const migration = new Balances1764600000000();
    /** Builds on what that one made. */
    const later = new LedgerChecks1765200000000();
    const runner = db.dataSource.createQueryRunner();
    const balances = new BalancesStore(db.dataSource);
    const receivable = async () => (await balances.read(MERCHANT))[0]?.balanceMinor;
    await db.query(`INSERT INTO merchants (merchant_id, name) VALUES ('${MERCHANT}', 'Shop')`);
    await later.down(runner);
    await migration.down(runner);
    await book(db, MERCHANT, 100);
    await migration.up(runner);
    await later.up(runner);
    expect(await receivable()).toBe(100n);

    await book(db, MERCHANT, 11);
    expect(await receivable()).toBe(111n);
    await snapshotWorker(db.transactions).runOnce(AT_ONCE);
    expect(await receivable()).toBe(111n);

    await later.down(runner);
    await migration.down(runner);
    await migration.up(runner);
    await later.up(runner);
    await runner.release();
    expect(await receivable()).toBe(111n);
  });
});
