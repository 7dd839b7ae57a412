import type { DataSource } from 'typeorm';
import { createDataSource } from './data-source.js';

/** Any number, the same everywhere: processes that start together migrate one after the other. */
const MIGRATION_LOCK = 7_242_001;
/** A migration may rewrite a table, so the timeouts of the service do not hold for it. */
async function openForMigration(databaseUrl: string): Promise<DataSource> {
  const dataSource = createDataSource(databaseUrl);
  dataSource.setOptions({ extra: {} });
  return dataSource.initialize();
}

/**
 * Runs the migrations that this database lacks, and returns their names.
 * Processes that start together run them one after the other.
 */
export async function runMigrations(databaseUrl: string): Promise<string[]> {
  const dataSource = await openForMigration(databaseUrl);
  const lock = dataSource.createQueryRunner();
  try {
    await lock.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const ran = await dataSource.runMigrations({ transaction: 'each' });
    return ran.map((migration) => migration.name);
  } finally {
    // Ending the session releases the lock, whatever state the migration left it in.
    await lock.release();
    await dataSource.destroy();
  }
}

/** How many migrations this database lacks. */
export async function pendingMigrations(databaseUrl: string): Promise<number> {
  const dataSource = await openForMigration(databaseUrl);
  try {
    const [{ exists }] = await dataSource.query<[{ exists: boolean }]>(
      `SELECT to_regclass('migrations') IS NOT NULL AS exists`,
    );
    const done = exists ? await dataSource.query<{ name: string }[]>('SELECT name FROM migrations') : [];
    const names = new Set(done.map((migration) => migration.name));
    return dataSource.migrations.filter((migration) => !names.has(migration.name ?? '')).length;
  } finally {
    await dataSource.destroy();
  }
}
