import { KeyManagement } from '../auth/key-management.js';
import { loadConfig } from '../config/config.js';
import { StartupError } from '../config/startup-error.js';
import { createDataSource } from '../database/data-source.js';
import { findEmbeddedPostgres } from '../database/embedded-postgres.js';

/** One command, one transaction at a time. */
const POOL_SIZE = 1;

/**
 * Runs a command on the database that the service uses: DATABASE_URL, or without it the one of a sandbox that runs on
 * the data folder right now.
 */
export async function withKeyManagement(use: (keys: KeyManagement) => Promise<void>): Promise<void> {
  const { databaseUrl, dataDir, sandbox } = loadConfig(process.env);
  const url = databaseUrl ?? (await findEmbeddedPostgres(dataDir));
  if (url === null) {
    throw new StartupError(
      `There is no database: no sandbox runs on ${dataDir}. Start it with "npm start", or set DATABASE_URL.`,
    );
  }
  const dataSource = await createDataSource(url, POOL_SIZE).initialize();
  try {
    await use(new KeyManagement(dataSource, sandbox));
  } finally {
    await dataSource.destroy();
  }
}
