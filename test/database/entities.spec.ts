import type { DataSource } from 'typeorm';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { openForMigration } from '../../src/database/migrations.js';
import { findSchemaDrift } from '../../src/database/schema-drift.js';
import { ENTITIES } from '../../src/entities.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

@Entity({ name: 'vouchers' })
class EntityWithoutTable {
  @PrimaryColumn('uuid', { name: 'voucher_id', primaryKeyConstraintName: 'vouchers_pkey' })
  voucherId = '';

  @Column('bigint')
  amount = '0';
}

describe('entities and the migrated schema', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
  });

  afterAll(() => database.drop());

  it('agree: TypeORM has nothing to change', async () => {
    await expect(drift()).resolves.toEqual({ up: [], down: [] });
  });

  it('cover each other: every table has its entity', async () => {
    const tables = await withDataSource((dataSource) =>
      dataSource.query<{ name: string }[]>(
        `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migrations'`,
      ),
    );
    const ofEntities = await withDataSource(async ({ entityMetadatas }) =>
      entityMetadatas.map(({ tableName }) => tableName),
    );
    expect(tables.map(({ name }) => name).toSorted()).toEqual(ofEntities.toSorted());
  });

  it('control: an entity without a table is found', async () => {
    const { up, down } = await drift([...ENTITIES, EntityWithoutTable]);
    expect(up.map(({ query }) => query)).toEqual([expect.stringContaining('CREATE TABLE "vouchers"')]);
    expect(down.map(({ query }) => query)).toEqual(['DROP TABLE "vouchers"']);
  });

  // These change the schema for good, so they come last; each looks only for its own remedy.
  it.each([
    ['ALTER TABLE payments DROP COLUMN description', 'ALTER TABLE "payments" ADD "description" text'],
    ['ALTER TABLE events ADD COLUMN note text', 'ALTER TABLE "events" DROP COLUMN "note"'],
    ['ALTER TABLE refunds ALTER COLUMN reason SET NOT NULL', 'ALTER COLUMN "reason" DROP NOT NULL'],
    ['ALTER TABLE refunds ALTER COLUMN status SET DEFAULT 0', 'ALTER COLUMN "status" DROP DEFAULT'],
    ['DROP INDEX refunds_payment', 'CREATE INDEX "refunds_payment"'],
    ['ALTER TABLE events DROP CONSTRAINT events_sequence', 'ADD CONSTRAINT "events_sequence" UNIQUE'],
    [
      'ALTER TABLE webhook_tries DROP CONSTRAINT webhook_tries_delivery',
      'ADD CONSTRAINT "webhook_tries_delivery"',
    ],
  ])('control: after %s it says %s', async (change, remedy) => {
    await withDataSource((dataSource) => dataSource.query(change));
    const { up } = await drift();
    expect(up.map(({ query }) => query)).toContainEqual(expect.stringContaining(remedy));
  });

  function drift(entities: readonly (new () => object)[] = ENTITIES) {
    return withDataSource(findSchemaDrift, entities);
  }

  async function withDataSource<T>(
    use: (dataSource: DataSource) => Promise<T>,
    entities: readonly (new () => object)[] = ENTITIES,
  ): Promise<T> {
    const dataSource = await openForMigration(database.url, entities);
    try {
      return await use(dataSource);
    } finally {
      await dataSource.destroy();
    }
  }
});
