import { DataSource } from 'typeorm';
import { hashApiKey } from '../../src/auth/api-key.js';
import { ApiKeysStore } from '../../src/auth/api-keys.store.js';
import { SANDBOX_MERCHANT_ID, SandboxSeed } from '../../src/auth/sandbox-seed.js';
import type { Config } from '../../src/config/config.js';
import { loadConfig } from '../../src/config/load-config.js';
import { createDataSource } from '../../src/database/data-source.js';
import { ENTITIES } from '../../src/entities.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const sandbox = (key: string) => loadConfig({ SANDBOX_API_KEY: key });

describe('the sandbox merchant and its key', () => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let store: ApiKeysStore;

  beforeAll(async () => {
    database = await createTestDatabase();
    dataSource = await createDataSource(database.url, ENTITIES).initialize();
    store = new ApiKeysStore(dataSource);
  });
  beforeEach(() => dataSource.query('TRUNCATE api_keys, merchants'));
  afterAll(async () => {
    await dataSource.destroy();
    await database.drop();
  });

  const seed = (config: Config) => new SandboxSeed(config, dataSource, store).onApplicationBootstrap();
  const count = async (table: string) => (await dataSource.query(`SELECT FROM ${table}`)).length as number;

  it('exist exactly once after every start', async () => {
    for (let start = 0; start < 3; start++) await seed(sandbox('sk_sandbox_one'));
    expect(await store.findValid(hashApiKey('sk_sandbox_one'))).toMatchObject({
      merchantId: SANDBOX_MERCHANT_ID,
      sandboxOnly: true,
    });
    expect([await count('merchants'), await count('api_keys')]).toEqual([1, 1]);
  });

  it('exist exactly once when several processes start together', async () => {
    await Promise.all(Array.from({ length: 3 }, () => seed(sandbox('sk_sandbox_one'))));
    expect([await count('merchants'), await count('api_keys')]).toEqual([1, 1]);
  });

  it('replace an earlier sandbox key, and change no other key', async () => {
    await seed(sandbox('sk_sandbox_one'));
    await addKey('sk_live', {});
    await seed(sandbox('sk_sandbox_two'));
    expect(await store.findValid(hashApiKey('sk_sandbox_one'))).toBeNull();
    expect(await store.findValid(hashApiKey('sk_sandbox_two'))).toMatchObject({ sandboxOnly: true });
    expect(await store.findValid(hashApiKey('sk_live'))).toMatchObject({ sandboxOnly: false });
  });

  it('do not exist outside the sandbox', async () => {
    await seed(loadConfig({ DATABASE_URL: database.url, SANDBOX: 'false' }));
    expect([await count('merchants'), await count('api_keys')]).toEqual([0, 0]);
  });

  it('are stored with only the hash and the first characters of the key', async () => {
    await seed(sandbox('sk_sandbox_one'));
    const [row] = await dataSource.query('SELECT * FROM api_keys');
    expect(row).toMatchObject({ key_hash: hashApiKey('sk_sandbox_one'), key_prefix: 'sk_sand' });
    expect(JSON.stringify(row)).not.toContain('sk_sandbox_one');
  });

  it.each([
    ['revoked', { revoked_at: '2020-01-01' }],
    ['expired', { expires_at: '2020-01-01' }],
  ])('refuse a key that is %s', async (_state, columns) => {
    await seed(sandbox('sk_sandbox_one'));
    await addKey('sk_old', columns);
    await addKey('sk_new', { expires_at: '2999-01-01' });
    expect(await store.findValid(hashApiKey('sk_old'))).toBeNull();
    expect(await store.findValid(hashApiKey('sk_new'))).not.toBeNull();
  });

  async function addKey(apiKey: string, times: { revoked_at?: string; expires_at?: string }): Promise<void> {
    await dataSource.query(
      `INSERT INTO api_keys (api_key_id, merchant_id, key_hash, key_prefix, scopes, revoked_at, expires_at)
       VALUES (gen_random_uuid(), $1, $2, 'sk', '{payments:read}', $3, $4)`,
      [SANDBOX_MERCHANT_ID, hashApiKey(apiKey), times.revoked_at ?? null, times.expires_at ?? null],
    );
  }
});
