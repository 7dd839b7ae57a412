import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Client } from 'pg';
import type { DataSource } from 'typeorm';
import { KeyManagement } from '../auth/key-management.js';
import type { Config } from '../config/config.js';
import type { Environment } from '../config/environment-reader.js';
import { loadConfig } from '../config/load-config.js';
import { StartupError } from '../config/startup-error.js';
import { createDataSource } from '../database/data-source.js';
import { ENTITIES } from '../entities.js';
import { embeddedPostgresFiles } from '../embedded-postgres/data-folder.js';
import { findEmbeddedPostgres, startEmbeddedPostgres } from '../embedded-postgres/server.js';

/** A command runs one transaction at a time. */
const POOL_SIZE = 1;

export interface CliDatabase {
  config: Config;
  url: string;
  dataSource: DataSource;
}

/**
 * Runs a command on the service's database: DATABASE_URL, or without it the database of the sandbox that is running on
 * the data folder.
 */
export async function withKeyManagement(use: (keys: KeyManagement) => Promise<void>): Promise<void> {
  const config = loadConfig(process.env);
  const url = config.databaseUrl ?? (await findEmbeddedPostgres(config.dataDir));
  if (url === null) throw noDatabase(config);
  await withDataSource(url, (dataSource) => use(new KeyManagement(dataSource, config.sandbox)));
}

/** The same, but if no service runs the sandbox's database, it is started for the duration of the command. */
export function withDatabase<Result>(
  env: Environment,
  use: (database: CliDatabase) => Promise<Result>,
): Promise<Result> {
  return withUrl(env, (config, url) => withDataSource(url, (dataSource) => use({ config, url, dataSource })));
}

/** A plain connection, without the service's time limits and planner settings. */
export function withClient<Result>(
  env: Environment,
  use: (client: Client) => Promise<Result>,
): Promise<Result> {
  return withUrl(env, async (_config, url) => {
    const client = new Client({ connectionString: url, application_name: 'hapax-cli' });
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  });
}

async function withUrl<Result>(
  env: Environment,
  use: (config: Config, url: string) => Promise<Result>,
): Promise<Result> {
  const config = loadConfig(env);
  const running = config.databaseUrl ?? (await findEmbeddedPostgres(config.dataDir));
  if (running !== null) return use(config, running);
  if (!existsSync(embeddedPostgresFiles(resolve(config.dataDir)).cluster)) throw noDatabase(config);
  const server = await startEmbeddedPostgres(config.dataDir);
  try {
    return await use(config, server.url);
  } finally {
    await server.stop();
  }
}

async function withDataSource<Result>(
  url: string,
  use: (dataSource: DataSource) => Promise<Result>,
): Promise<Result> {
  const dataSource = await createDataSource(url, ENTITIES, POOL_SIZE).initialize();
  try {
    return await use(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

function noDatabase({ dataDir }: Config): StartupError {
  return new StartupError(
    `There is no database: no sandbox runs on ${dataDir}. Start it with "npm start", or set DATABASE_URL.`,
  );
}
