import { setTimeout as sleep } from 'node:timers/promises';
import type { QueryRunner } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { BalancesStore } from '../../src/ledger/balances.store.js';
import { ClosingStore } from '../../src/ledger/closing.store.js';
import { SnapshotsStore } from '../../src/ledger/snapshots.store.js';
import type { SnapshotWorker } from '../../src/ledger/snapshot.worker.js';
import { CHECKS } from '../../src/verification/checks.js';
import { AT_ONCE, book, snapshotWorker, untilBooksAreClosed } from '../support/ledger.js';
import { WritePath } from '../support/write-path.js';

describe('a snapshot of the ledger', () => {
  let db: WritePath;
  let worker: SnapshotWorker;
  let closing: ClosingStore;
  let balances: BalancesStore;
  let late: QueryRunner;

  let merchant: string;

  beforeAll(async () => {
    db = await WritePath.open();
    worker = snapshotWorker(db.transactions);
    closing = new ClosingStore(db.transactions);
    balances = new BalancesStore(db.dataSource);
  });
  beforeEach(async () => {
    // Entries that another test left must not be due in this one.
    await worker.runOnce(AT_ONCE);
    merchant = uuidv7();
    await db.query('INSERT INTO merchants (merchant_id, name) VALUES ($1, $2)', [merchant, 'Shop']);
    late = db.dataSource.createQueryRunner();
  });
  afterEach(() => late.release());
  afterAll(() => db.close());

  /** What the gateway owes us, after checking that the other side agrees. */
  async function receivable(currency = 'EUR'): Promise<number> {
    const read = (await balances.read(merchant)).filter((balance) => balance.currency === currency);
    const [first, second] = read.map(({ balanceMinor }) => balanceMinor);
    expect(read.map(({ account }) => account)).toEqual(['gateway_receivable', 'merchant_payable']);
    expect(first).toBe(-second!);
    return Number(first);
  }

  const horizons = () =>
    db
      .query<{ horizon: string }>(
        'SELECT DISTINCT horizon FROM ledger_snapshots WHERE merchant_id = $1 ORDER BY horizon',
        [merchant],
      )
      .then((rows) => rows.map(({ horizon }) => BigInt(horizon)));

  const untilAllIsClosed = () => untilBooksAreClosed(db.transactions);

  async function brokenSnapshots(): Promise<unknown[]> {
    const { sql } = CHECKS.find(({ name }) => name === 'ledger.snapshots')!;
    return db.query(`SELECT * FROM (${sql}) broken WHERE merchant_id = $1`, [merchant]);
  }

  it('does not miss a transaction that began before it and commits after it', async () => {
    await late.startTransaction();
    await book(late, merchant, 7);
    for (let n = 0; n < 5; n += 1) await book(db, merchant);

    await worker.runOnce(AT_ONCE);
    expect(await receivable()).toBe(500);
    await late.commitTransaction();
    expect(await receivable()).toBe(507);

    await untilAllIsClosed();
    await worker.runOnce(AT_ONCE);
    expect(await receivable()).toBe(507);
    expect((await horizons()).length).toBeGreaterThan(0);
    expect(await brokenSnapshots()).toEqual([]);
  });

  it('does not miss a transaction that got its number before it and writes its first entry after it', async () => {
    await late.startTransaction();
    await late.query('SELECT pg_current_xact_id()');
    await book(db, merchant);
    await worker.runOnce(AT_ONCE);

    await book(late, merchant, 7);
    await late.commitTransaction();
    await worker.runOnce(AT_ONCE);
    expect(await receivable()).toBe(107);
    expect(await brokenSnapshots()).toEqual([]);
  });

  it('control: closed up to the newest transaction instead of the oldest that runs, it would miss one', async () => {
    await late.startTransaction();
    await book(late, merchant, 7);
    await book(db, merchant);
    const [closed] = await db.dataSource.query<[{ closed_below: string }[]]>(`
      UPDATE ledger_closing SET closed_below = xid_base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
      RETURNING closed_below`);
    const closedBelow = BigInt(closed[0]!.closed_below);
    await new SnapshotsStore(db.transactions).carryForward(merchant, closedBelow, 1_000);
    await late.commitTransaction();
    expect(await receivable()).toBe(100);
    expect(await brokenSnapshots()).toHaveLength(2);
  });

  it('is the same whichever worker writes it: several at once count nothing twice', async () => {
    const others = [worker, ...Array.from({ length: 3 }, () => snapshotWorker(db.transactions))];
    for (let round = 1; round <= 4; round += 1) {
      await Promise.all([book(db, merchant), book(db, merchant, 50, 'USD')]);
      await Promise.all(others.map((each) => each.runOnce(AT_ONCE)));
      expect([await receivable(), await receivable('USD')]).toEqual([100 * round, 50 * round]);
    }
    expect(await brokenSnapshots()).toEqual([]);
  });

  it('goes step by step through a ledger that is larger than one step', async () => {
    for (let n = 0; n < 12; n += 1) await book(db, merchant);
    await untilAllIsClosed();
    const closedBelow = await closing.close();
    const snapshots = new SnapshotsStore(db.transactions);
    const steps: bigint[] = [];
    for (let horizon = 0n; horizon < closedBelow; steps.push(horizon)) {
      horizon = (await snapshots.carryForward(merchant, closedBelow, 6)) ?? closedBelow;
      expect(await receivable()).toBe(1_200);
    }
    expect(steps.length).toBeGreaterThanOrEqual(4);
    expect(await brokenSnapshots()).toEqual([]);
    await worker.runOnce({ minEntries: 1, maxEntries: 1 });
    expect(await receivable()).toBe(1_200);
  });

  it('gets past a single transaction that is larger than a step', async () => {
    await late.startTransaction();
    for (let n = 0; n < 10; n += 1) await book(late, merchant);
    await late.commitTransaction();
    await untilAllIsClosed();
    await worker.runOnce({ minEntries: 1, maxEntries: 3 });
    const [{ entries } = { entries: '' }] = await db.query<{ entries: string }>(
      `SELECT entries FROM ledger_snapshots
       WHERE merchant_id = $1 AND account = 'merchant_payable' ORDER BY horizon DESC LIMIT 1`,
      [merchant],
    );
    expect(entries).toBe('10');
  });

  it('is not made for a few entries, and only the newest five are kept', async () => {
    for (let n = 0; n < 3; n += 1) await book(db, merchant);
    await untilAllIsClosed();
    await worker.runOnce({ minEntries: 7, maxEntries: 1_000 });
    expect(await horizons()).toEqual([]);
    await worker.runOnce({ minEntries: 6, maxEntries: 1_000 });
    expect(await horizons()).toHaveLength(1);

    for (let n = 0; n < 8; n += 1) {
      await book(db, merchant);
      await untilAllIsClosed();
      await worker.runOnce(AT_ONCE);
    }
    expect(await horizons()).toHaveLength(5);
    expect(await receivable()).toBe(1_100);
    expect(await brokenSnapshots()).toEqual([]);
  });

  it('is made for every merchant that needs one, page by page', async () => {
    await db.query(`INSERT INTO merchants (merchant_id, name)
      SELECT ('00000000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid, 'Shop' FROM generate_series(1, 1003) n`);
    const last = '00000000-0000-7000-9000-0000000003eb';
    for (const each of [merchant, last]) await book(db, each);
    await untilAllIsClosed();
    expect(await worker.runOnce(AT_ONCE)).toBeGreaterThanOrEqual(2);
    const found = await db.query(
      'SELECT DISTINCT merchant_id FROM ledger_snapshots WHERE merchant_id IN ($1, $2)',
      [merchant, last],
    );
    expect(found).toHaveLength(2);
    expect(await worker.runOnce(AT_ONCE)).toBe(0);
  });

  describe('rests on books that the database keeps closed', () => {
    const closed = async (): Promise<{ xid_base: string; closed_below: string }> =>
      (await db.query<{ xid_base: string; closed_below: string }>('SELECT * FROM ledger_closing'))[0]!;

    it('no writer can choose an entry’s place', async () => {
      const entries = (place: string) =>
        db.query(
          `INSERT INTO ledger_entries
             (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at, log_position)
           SELECT $1, $2, n, $2, 'gateway_receivable', 'EUR', 3 - 2 * n, now(), ${place} FROM generate_series(1, 2) n`,
          [merchant, uuidv7()],
        );
      const own = 'pg_current_xact_id()::text::bigint + (SELECT xid_base FROM ledger_closing)';
      await expect(entries('2')).rejects.toMatchObject({ constraint: 'ledger_entries_place' });
      await expect(entries(`${own} + 1`)).rejects.toMatchObject({ constraint: 'ledger_entries_place' });
      await expect(entries(own)).resolves.toBeDefined();
    });

    /** As after a dump is restored on a new server, whose transaction numbers start low again. */
    const moveToAnotherServer = () =>
      db.query('UPDATE ledger_closing SET closed_below = closed_below + 1000000');

    it('an entry below them is refused, and a worker reopens them above', async () => {
      await book(db, merchant);
      await untilAllIsClosed();
      await worker.runOnce(AT_ONCE);
      await moveToAnotherServer();
      await expect(book(db, merchant)).rejects.toMatchObject({
        code: '40001',
        message: expect.stringMatching(/^the books are closed below/),
      });

      const before = await closed();
      await Promise.all([worker, snapshotWorker(db.transactions)].map((each) => each.runOnce(AT_ONCE)));
      expect((await closed()).xid_base).toBe(before.closed_below);
      await book(db, merchant, 11);
      expect(await receivable()).toBe(111);
      await untilAllIsClosed();
      await worker.runOnce(AT_ONCE);
      expect(await receivable()).toBe(111);
      expect(await horizons()).toHaveLength(2);
      expect(await brokenSnapshots()).toEqual([]);
    });

    it('a service reopens them before its first request', async () => {
      await moveToAnotherServer();
      await worker.onApplicationBootstrap();
      await worker.beforeApplicationShutdown();
      await book(db, merchant);
      expect(await receivable()).toBe(100);
    });

    it('they are reopened only while no writer is active that has read the old base', async () => {
      await late.startTransaction();
      await book(late, merchant, 7);
      await moveToAnotherServer();
      const reopened = worker.runOnce(AT_ONCE);
      expect(await Promise.race([reopened, sleep(100, 'waits')])).toBe('waits');
      await late.commitTransaction();
      await reopened;
      await book(db, merchant);
      await worker.runOnce(AT_ONCE);
      expect(await receivable()).toBe(107);
      expect(await brokenSnapshots()).toEqual([]);
    });

    it('nothing is written if they cannot be read', async () => {
      await late.startTransaction();
      await late.query('DELETE FROM ledger_closing');
      await expect(book(late, merchant)).rejects.toMatchObject({ code: '23502' });
      await late.rollbackTransaction();
    });
  });
});
