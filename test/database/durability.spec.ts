import { Client } from 'pg';
import { runMigrations } from '../../src/database/migrations.js';
import { startEmbeddedPostgres, type EmbeddedPostgresServer } from '../../src/embedded-postgres/server.js';
import { createTemporaryFolder, createTestDatabase, type TemporaryFolder } from '../support/postgres.js';
import { ServiceProcess } from '../support/service-process.js';

const OUTSIDE_THE_SANDBOX = { SANDBOX: 'false' };

describe('a database that may lose what it has committed', () => {
  let folder: TemporaryFolder;
  let durable: EmbeddedPostgresServer;

  beforeAll(async () => {
    folder = await createTemporaryFolder();
    durable = await startEmbeddedPostgres(folder.path);
    await runMigrations(durable.url);
  });
  afterEach(() => setUp('RESET synchronous_commit'));
  afterAll(async () => {
    await durable.stop();
    await folder.remove();
  });

  async function setUp(setting: string): Promise<void> {
    const client = new Client({ connectionString: durable.url });
    await client.connect();
    await client.query(`ALTER DATABASE ${new URL(durable.url).pathname.slice(1)} ${setting}`);
    await client.end();
  }

  /** @returns `listens`, or what the service said instead */
  async function start(databaseUrl: string, env: Readonly<Record<string, string>>): Promise<string> {
    const options = { databaseUrl, dataDir: folder.path, env };
    const started = await ServiceProcess.start(options).catch((error: Error) => error.message);
    if (typeof started === 'string') return started;
    await started.kill();
    return 'listens';
  }

  it('because synchronous_commit is off is refused outside the sandbox, unless that is allowed', async () => {
    await setUp('SET synchronous_commit = off');
    const refusal = await start(durable.url, OUTSIDE_THE_SANDBOX);
    expect(refusal).toMatch(
      /^the service ended at once \(1\):\nThe database has synchronous_commit off\b.*\n$/,
    );
    expect(refusal).toContain('ALLOW_UNSAFE_DATABASE=true');
    expect(await start(durable.url, { ...OUTSIDE_THE_SANDBOX, ALLOW_UNSAFE_DATABASE: 'true' })).toBe(
      'listens',
    );
    expect(await start(durable.url, {})).toBe('listens');
  });

  it('because fsync is off is refused as well', async () => {
    // The server that the tests share.
    const forgetful = await createTestDatabase();
    expect(await start(forgetful.url, OUTSIDE_THE_SANDBOX)).toContain('The database has fsync off');
    expect(await start(forgetful.url, { ...OUTSIDE_THE_SANDBOX, ALLOW_UNSAFE_DATABASE: 'true' })).toBe(
      'listens',
    );
    await forgetful.drop();
  });

  it('is not one whose commits wait for its own disk alone', async () => {
    await setUp('SET synchronous_commit = local');
    expect(await start(durable.url, OUTSIDE_THE_SANDBOX)).toBe('listens');
  });
});
