import { createDataSource } from './data-source.js';

/**
 * The settings with which this database may lose what it has committed, after a crash of its machine. They are read on
 * a connection like the service's own, since a role or a database may have its own `synchronous_commit`.
 *
 * `full_page_writes` is left out: without it a file system that tears pages damages the database, but some file systems
 * tear none, and only an operator knows.
 */
export async function settingsThatLoseCommits(databaseUrl: string): Promise<string[]> {
  const dataSource = await createDataSource(databaseUrl, [], 1).initialize();
  try {
    const rows = await dataSource.query<{ name: string }[]>(
      `SELECT name FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit') AND setting = 'off' ORDER BY name`,
    );
    return rows.map(({ name }) => name);
  } finally {
    await dataSource.destroy();
  }
}
