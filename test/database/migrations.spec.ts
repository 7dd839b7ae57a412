import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MigrationExecutor, type DataSource } from 'typeorm';
import { openForMigration, runMigrations } from '../../src/database/migrations.js';
import { createTestDatabase, createUnmigratedTestDatabase, type TestDatabase } from '../support/postgres.js';
import { describeSchema, readAllRows } from '../support/schema.js';
import { CALL_UNDER_DERIVED_KEY, REVERSED_KEY, ROWS_OF_MIGRATION } from './migration-rows.js';

const FILES = await readdir(join(import.meta.dirname, '../../migrations'));
const MIGRATIONS = FILES.flatMap((file) => /^\d+-(.+)\.js$/.exec(file)?.[1] ?? []);

describe('migrations', () => {
  let database: TestDatabase;
  let dataSource: DataSource;

  describe('from an empty database', () => {
    beforeEach(() => open(createUnmigratedTestDatabase()));
    afterEach(close);

    it.each(MIGRATIONS)(
      '%s goes down and up again, and leaves the schema and all older rows as they were',
      async (name) => {
        await goUpWithRows(MIGRATIONS.indexOf(name));
        const before = await contents();
        await goUp();
        const after = await contents();
        await addRows(name);

        await goDown();
        expect(await contents()).toEqual(before);
        await goUp();
        expect(await contents()).toEqual(after);
      },
    );

    it('all go down to nothing and up again', async () => {
      await goUpWithRows(MIGRATIONS.length);
      const schema = await describeSchema(dataSource);
      for (const _ of MIGRATIONS) await goDown();
      expect(Object.keys(await readAllRows(dataSource))).toEqual([]);
      await expect(runMigrations(database.url)).resolves.toHaveLength(MIGRATIONS.length);
      expect(await describeSchema(dataSource)).toEqual(schema);
    });

    it('reversals refuses to go down while a key is reversed, and changes nothing', async () => {
      await goUpWithRows(MIGRATIONS.indexOf('reversals') + 1);
      await dataSource.query(REVERSED_KEY);
      const before = await contents();
      await expect(goDown()).rejects.toMatchObject({ constraint: 'idempotency_keys_status' });
      expect(await contents()).toEqual(before);
    });

    it('gateway-keys refuses to go down while a call is open under a derived key, and changes nothing', async () => {
      await goUpWithRows(MIGRATIONS.indexOf('gateway-keys') + 1);
      await dataSource.query(CALL_UNDER_DERIVED_KEY);
      const before = await contents();
      await expect(goDown()).rejects.toThrow('1 operations are in progress under derived gateway keys');
      expect(await contents()).toEqual(before);
    });

    it('every entry in the table of rows belongs to a migration', () => {
      expect(MIGRATIONS).toEqual(expect.arrayContaining(Object.keys(ROWS_OF_MIGRATION)));
    });
  });

  describe('control: the description of a schema', () => {
    beforeAll(() => open(createTestDatabase()));
    afterAll(close);

    it.each([
      'CREATE SCHEMA other',
      'CREATE TABLE other ()',
      'CREATE SEQUENCE other',
      'CREATE VIEW other AS SELECT merchant_id FROM merchants',
      `COMMENT ON TABLE payments IS 'other'`,
      'ALTER TABLE payments SET (fillfactor = 70)',
      'ALTER TABLE payments ADD COLUMN other text',
      'ALTER TABLE payments ALTER COLUMN description SET NOT NULL',
      'ALTER TABLE payments ALTER COLUMN description TYPE varchar',
      `ALTER TABLE payments ALTER COLUMN metadata SET DEFAULT '[]'`,
      'ALTER TABLE payments DROP CONSTRAINT payments_limits',
      'DROP INDEX payments_closed_by',
      'DROP TRIGGER api_keys_changed ON api_keys',
      'ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_append_only',
      `CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
      `ALTER TYPE pgboss.job_state ADD VALUE 'other'`,
    ])('changes with %s', async (change) => {
      const runner = dataSource.createQueryRunner();
      try {
        await runner.startTransaction();
        const before = await describeSchema(runner);
        await runner.query(change);
        expect(await describeSchema(runner)).not.toEqual(before);
        await runner.rollbackTransaction();
      } finally {
        await runner.release();
      }
    });
  });

  async function open(created: Promise<TestDatabase>): Promise<void> {
    database = await created;
    dataSource = await openForMigration(database.url);
    // Looking creates TypeORM's own table, which no migration builds or removes.
    await dataSource.showMigrations();
  }

  async function close(): Promise<void> {
    await dataSource.destroy();
    await database.drop();
  }

  async function contents() {
    return { schema: await describeSchema(dataSource), rows: await readAllRows(dataSource) };
  }

  async function goUpWithRows(count: number): Promise<void> {
    for (const name of MIGRATIONS.slice(0, count)) {
      await goUp();
      await addRows(name);
    }
  }

  /** One migration as the service runs it: in a transaction of its own, unless it wants to have several. */
  async function goUp(): Promise<void> {
    const runner = dataSource.createQueryRunner();
    try {
      const executor = new MigrationExecutor(dataSource, runner);
      const [next] = await executor.getPendingMigrations();
      if (next === undefined) throw new Error('every migration has been run already');
      const inTransaction = next.instance?.transaction ?? true;
      if (inTransaction) await runner.startTransaction();
      await executor.executeMigration(next);
      if (inTransaction) await runner.commitTransaction();
    } finally {
      await runner.release();
    }
  }

  async function goDown(): Promise<void> {
    await dataSource.undoLastMigration({ transaction: 'each' });
  }

  async function addRows(name: string): Promise<void> {
    for (const statement of ROWS_OF_MIGRATION[name] ?? []) await dataSource.query(statement);
  }
});
