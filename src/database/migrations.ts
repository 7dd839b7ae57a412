import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { dataSourceOptions, type Entities } from './data-source.js';

const FOLDER = join(import.meta.dirname, '../../migrations');
const POOL_SIZE = 3;

/** An arbitrary number that all processes share, so that processes that start together migrate one after another. */
const MIGRATION_LOCK = 7_242_001;
const TURN_PAUSE_MS = 100;

/**
 * A data source that knows the migrations. They may rewrite a table, so the service's timeouts do not apply.
 *
 * TypeORM could find the files itself. But it imports them through code generated at run time, which a test runner with
 * separate modules per file cannot follow, and it would do so at every start of the service.
 */
export async function openForMigration(databaseUrl: string, entities: Entities = []): Promise<DataSource> {
  const options = {
    ...dataSourceOptions(databaseUrl, entities, POOL_SIZE),
    migrations: await loadMigrations(),
    extra: {},
  };
  return new DataSource(options).initialize();
}

async function loadMigrations(): Promise<(new () => MigrationInterface)[]> {
  const files = (await readdir(FOLDER)).filter((file) => file.endsWith('.js'));
  const modules = await Promise.all(
    files.map((file) => import(pathToFileURL(join(FOLDER, file)).href) as Promise<object>),
  );
  return modules.flatMap((module) => Object.values(module) as (new () => MigrationInterface)[]);
}

/**
 * Runs the migrations that this database lacks and returns their names.
 * Processes that start together take turns.
 */
export async function runMigrations(databaseUrl: string): Promise<string[]> {
  const dataSource = await openForMigration(databaseUrl);
  const lock = dataSource.createQueryRunner();
  try {
    await takeTurn(lock);
    const ran = await dataSource.runMigrations({ transaction: 'each' });
    return ran.map((migration) => migration.name);
  } finally {
    // Ending the session releases the lock, whatever state the migration left the session in.
    await lock.release();
    await dataSource.destroy();
  }
}

/**
 * Asks again and again instead of waiting in the database: a statement that waits holds a snapshot, and an index that
 * is built CONCURRENTLY waits for all snapshots, so that each would wait for the other.
 */
async function takeTurn(lock: QueryRunner): Promise<void> {
  for (;;) {
    const [{ taken }] = (await lock.query('SELECT pg_try_advisory_lock($1) AS taken', [MIGRATION_LOCK])) as [
      { taken: boolean },
    ];
    if (taken) return;
    await sleep(TURN_PAUSE_MS);
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
