import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, DatabaseError } from 'pg';
import { startEmbeddedPostgres, type EmbeddedPostgresServer } from '../../src/embedded-postgres/server.js';
import { runMigrations } from '../../src/database/migrations.js';
import { prepareQuickStarts } from './child-environment.js';

/** Tells the workers where the server is that the global setup started. */
const URL_VARIABLE = 'HAPAX_TEST_POSTGRES_URL';
const TEMPLATE = 'hapax_template';
/** PostgreSQL's `object_in_use`: a connection to the template is still closing, or another copy is running. */
const OBJECT_IN_USE = '55006';
const COPY_ATTEMPTS = 200;
const COPY_RETRY_MS = 25;

/** No test reads the shared server's data after a crash. Tests of crashes start their own server. */
const FAST_AND_FORGETFUL = { fsync: 'off', full_page_writes: 'off' };

export interface TestDatabase {
  readonly url: string;
  drop(): Promise<void>;
}

export interface TemporaryFolder {
  readonly path: string;
  remove(): Promise<void>;
}

/** An empty database with every migration run, for one test file. */
export function createTestDatabase(): Promise<TestDatabase> {
  return createDatabaseFrom(TEMPLATE);
}

/** A copy of a database that nobody is connected to, as a standby or a backup would have it. */
export function copyTestDatabase({ url }: TestDatabase): Promise<TestDatabase> {
  return createDatabaseFrom(new URL(url).pathname.slice(1));
}

/** A database without any migration, for tests of the migrations themselves. */
export function createUnmigratedTestDatabase(): Promise<TestDatabase> {
  return createDatabaseFrom('template0');
}

/** A new folder that PostgreSQL's own user may enter, which matters when the tests run as root. */
export async function createTemporaryFolder(): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), 'hapax-test-'));
  await chmod(path, 0o755);
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 3 }) };
}

/** The global setup and teardown run in one process, so they share this. */
let shared: { server: EmbeddedPostgresServer; folder: TemporaryFolder } | undefined;

/** Starts the server that all test files share, with the template that they copy, and prepares quick starts. */
export async function startSharedPostgres(): Promise<void> {
  const folder = await createTemporaryFolder();
  const [server] = await Promise.all([
    startEmbeddedPostgres(folder.path, { settings: FAST_AND_FORGETFUL }),
    prepareQuickStarts(join(folder.path, 'compiled')),
  ]);
  shared = { server, folder };
  process.env[URL_VARIABLE] = server.url;
  try {
    await asAdmin((admin) => admin.query(`CREATE DATABASE ${TEMPLATE}`));
    await runMigrations(databaseUrl(TEMPLATE));
  } catch (error) {
    await stopSharedPostgres();
    throw error;
  }
}

export async function stopSharedPostgres(): Promise<void> {
  await shared?.server.stop();
  await shared?.folder.remove();
}

async function createDatabaseFrom(template: string): Promise<TestDatabase> {
  const name = `hapax_test_${randomUUID().replaceAll('-', '')}`;
  await copyTemplate(template, name);
  return {
    url: databaseUrl(name),
    drop: () => asAdmin((admin) => admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)),
  };
}

/** PostgreSQL would copy block by block through its log, for a standby that we do not have. Copying files costs half. */
async function copyTemplate(template: string, name: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await asAdmin((admin) =>
        admin.query(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`),
      );
    } catch (error) {
      const inUse = error instanceof DatabaseError && error.code === OBJECT_IN_USE;
      if (!inUse || attempt === COPY_ATTEMPTS) throw error;
      await sleep(COPY_RETRY_MS);
    }
  }
}

async function asAdmin(run: (admin: Client) => Promise<unknown>): Promise<void> {
  const admin = new Client({ connectionString: sharedUrl() });
  await admin.connect();
  try {
    await run(admin);
  } finally {
    await admin.end();
  }
}

function databaseUrl(name: string): string {
  const url = new URL(sharedUrl());
  url.pathname = `/${name}`;
  return url.href;
}

function sharedUrl(): string {
  const url = process.env[URL_VARIABLE];
  if (url === undefined)
    throw new Error('The shared PostgreSQL is not running: start the tests with npm test');
  return url;
}
