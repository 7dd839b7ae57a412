/**
 * `npm run migration:run | migration:revert | migration:show | migration:generate -- Name`, on DATABASE_URL or on the
 * sandbox's embedded PostgreSQL. If no service runs that, it is started for the duration of the command.
 */
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MigrationExecutor, type DataSource } from 'typeorm';
import { loadConfig, ConfigError } from '../config/load-config.js';
import { ENTITIES } from '../entities.js';
import { StartupError } from '../config/startup-error.js';
import { openForMigration, runMigrations } from '../database/migrations.js';
import { findSchemaDrift } from '../database/schema-drift.js';
import { findEmbeddedPostgres, startEmbeddedPostgres } from '../embedded-postgres/server.js';
import { migrationSource } from './migration-source.js';

const COMMANDS = { run, revert, show, generate } as const;
const USAGE = `Usage: migration ${Object.keys(COMMANDS).join(' | ')} Name`;

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(explanation(error));
  process.exitCode = 1;
}

async function main([command = '', ...args]: string[]): Promise<void> {
  const chosen = Object.entries(COMMANDS).find(([name]) => name === command)?.[1];
  if (chosen === undefined) throw new StartupError(USAGE);
  const database = await openDatabase();
  try {
    await chosen(database.url, args);
  } finally {
    await database.close();
  }
}

async function openDatabase(): Promise<{ url: string; close(): Promise<void> }> {
  const { databaseUrl, dataDir } = loadConfig(process.env);
  const url = databaseUrl ?? (await findEmbeddedPostgres(dataDir));
  if (url !== null) return { url, close: async () => undefined };
  const server = await startEmbeddedPostgres(dataDir);
  return { url: server.url, close: () => server.stop() };
}

async function run(databaseUrl: string): Promise<void> {
  const names = await runMigrations(databaseUrl);
  for (const name of names) console.log(`Ran ${name}`);
  if (names.length === 0) console.log('Every migration has been run already');
}

async function revert(databaseUrl: string): Promise<void> {
  await withDataSource(databaseUrl, async (dataSource) => {
    const [latest] = await new MigrationExecutor(dataSource).getExecutedMigrations();
    if (latest === undefined) return console.log('No migration has been run, so there is none to revert');
    await dataSource.undoLastMigration({ transaction: 'each' });
    console.log(`Reverted ${latest.name}`);
  });
}

async function show(databaseUrl: string): Promise<void> {
  await withDataSource(databaseUrl, async (dataSource) => {
    const executor = new MigrationExecutor(dataSource);
    const pending = await executor.getPendingMigrations();
    const executed = await executor.getExecutedMigrations();
    for (const { name } of executed.toReversed()) console.log(`[x] ${name}`);
    for (const { name } of pending) console.log(`[ ] ${name}`);
  });
}

async function generate(databaseUrl: string, [name = '']: string[]): Promise<void> {
  if (!/^[A-Za-z][A-Za-z0-9-]*$/.test(name)) {
    throw new StartupError(
      'A migration needs a name of letters and digits: npm run migration:generate -- AddRefunds',
    );
  }
  await withDataSource(databaseUrl, async (dataSource) => {
    if ((await new MigrationExecutor(dataSource).getPendingMigrations()).length > 0) {
      throw new StartupError(
        'There are migrations that this database lacks: run them first (npm run migration:run)',
      );
    }
    const drift = await findSchemaDrift(dataSource);
    if (drift.up.length === 0)
      return console.log('The database is what the entities say: there is nothing to generate');
    const { fileName, text } = migrationSource(name, Date.now(), drift);
    const file = join('migrations', fileName);
    if (existsSync(file)) throw new StartupError(`${file} exists already`);
    await writeFile(file, text);
    console.log(`Wrote ${file}: read it, name its constraints, and add a comment to every new table`);
  });
}

async function withDataSource(
  databaseUrl: string,
  use: (dataSource: DataSource) => Promise<void>,
): Promise<void> {
  const dataSource = await openForMigration(databaseUrl, ENTITIES);
  try {
    await use(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

/** An error that an operator can run into is one sentence. A bug keeps its stack trace. */
function explanation(error: unknown): string {
  if (error instanceof StartupError || error instanceof ConfigError) return error.message;
  const { code, message } = Object(error) as { code?: unknown; message?: unknown };
  // An error with a code comes from the database or from connecting to it: ECONNREFUSED, 28P01 (wrong password), 3D000
  // (no such database) …
  if (typeof code === 'string') return `The database refused: ${String(message) || code} (${code})`;
  return error instanceof Error && error.stack !== undefined ? error.stack : String(error);
}
