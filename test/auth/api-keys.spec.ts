import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DataSource } from 'typeorm';
import { createApp } from '../../src/app.js';
import { checksum, createApiKey } from '../../src/auth/api-key.js';
import { KeyManagement } from '../../src/auth/key-management.js';
import { LastUsed } from '../../src/auth/last-used.js';
import { SANDBOX_MERCHANT_ID } from '../../src/auth/sandbox-seed.js';
import { SCOPES } from '../../src/auth/scopes.js';
import { loadConfig } from '../../src/config/load-config.js';
import { createDataSource } from '../../src/database/data-source.js';
import { Listener } from '../../src/database/listener.js';
import { ENTITIES } from '../../src/entities.js';
import { createLogger } from '../../src/http/logger.js';
import { createTemporaryFolder, createTestDatabase, type TestDatabase } from '../support/postgres.js';

const MERCHANT_NAME = 'Shop B';
/** Far below the second for which a cached key lives without word from the listener. */
const PROMPT_MS = 700;

describe('an API key', () => {
  it('has a prefix that says what it is, is long, and is unique', () => {
    const keys = Array.from({ length: 1_000 }, () => createApiKey(false).apiKey);
    expect(new Set(keys).size).toBe(1_000);
    for (const key of keys) expect(key).toMatch(/^hpx_live_[0-9A-Za-z]{38}$/);
    expect(createApiKey(true).apiKey).toMatch(/^hpx_test_/);
    // A thousand keys are enough to see every character somewhere, though not in every place.
    expect(new Set(keys.flatMap((key) => key.slice(9, 41).split(''))).size).toBe(62);
  });

  it('ends with a checksum, so that a scanner can distinguish it from a look-alike', () => {
    const { apiKey } = createApiKey(false);
    expect(checksum(apiKey.slice(0, -6))).toBe(apiKey.slice(-6));
    expect(checksum(apiKey.slice(0, -7))).not.toBe(apiKey.slice(-6));
    expect(checksum('hpx_live_')).toHaveLength(6);
  });
});

describe('key management', () => {
  let database: TestDatabase;
  let dataSource: DataSource;
  let keys: KeyManagement;
  let apps: NestFastifyApplication[];
  let removeFolder: () => Promise<void>;

  beforeAll(async () => {
    database = await createTestDatabase();
    dataSource = await createDataSource(database.url, ENTITIES).initialize();
    keys = new KeyManagement(dataSource, false);
    const folder = await createTemporaryFolder();
    removeFolder = () => folder.remove();
    const config = loadConfig({
      DATABASE_URL: database.url,
      SANDBOX: 'true',
      DATA_DIR: folder.path,
      LOG_LEVEL: 'silent',
      PORT: '0',
    });
    apps = [];
    for (let process = 0; process < 2; process++) {
      const app = await createApp(config, database.url, createLogger(config));
      await app.init();
      await app.getHttpAdapter().getInstance().ready();
      apps.push(app);
    }
    await until(() => apps.every((app) => app.get(Listener).listening));
  });
  afterAll(async () => {
    for (const app of apps) await app.close();
    await dataSource.destroy();
    await database.drop();
    await removeFolder();
  });

  const ask = (apiKey: string, app = 0, url = '/v1/payments') =>
    apps[app]!.inject({ url, headers: { authorization: `Bearer ${apiKey}` } });
  const pay = (apiKey: string, idempotencyKey: string, app: number) =>
    apps[app]!.inject({
      method: 'POST',
      url: '/v1/payments',
      headers: { authorization: `Bearer ${apiKey}`, 'idempotency-key': idempotencyKey },
      payload: { amount: 100, currency: 'EUR', payment_method: 'pm_card_visa' },
    });
  const status = async (apiKey: string, app = 0) => (await ask(apiKey, app)).statusCode;

  it('gives a new merchant one key with all scopes', async () => {
    const issued = await keys.createMerchant(MERCHANT_NAME);
    expect(issued).toMatchObject({ scopes: SCOPES, status: 'active', expiresAt: null, sandboxOnly: false });
    expect(await status(issued.apiKey)).toBe(200);
    expect(await keys.listMerchants()).toContainEqual(
      expect.objectContaining({ merchantId: issued.merchantId, name: MERCHANT_NAME }),
    );
  });

  it('stores only the hash and the first characters of a key', async () => {
    const { apiKey, keyPrefix } = await keys.createMerchant(MERCHANT_NAME);
    const text = JSON.stringify(
      await dataSource.query(`SELECT k.*, encode(key_hash, 'escape') FROM api_keys k`),
    );
    expect(text).not.toContain(apiKey.slice(keyPrefix.length));
    expect(apiKey.slice(0, 13)).toBe(keyPrefix);
  });

  it('answers 200 to a key that has the scope, and 403 to one that lacks it', async () => {
    const { merchantId } = await keys.createMerchant(MERCHANT_NAME);
    const reader = await keys.createKey(merchantId, ['payments:read'], null);
    const writer = await keys.createKey(merchantId, ['payments:write'], null);
    expect(await status(reader.apiKey)).toBe(200);
    const refused = await ask(writer.apiKey);
    expect([refused.statusCode, refused.json().detail]).toEqual([
      403,
      'This API key lacks the scope payments:read.',
    ]);
  });

  it('ends a revoked key at once in every process, even for a replay', async () => {
    const issued = await keys.createMerchant(MERCHANT_NAME);
    const first = await pay(issued.apiKey, 'once', 0);
    expect(first.statusCode).toBe(201);
    expect((await pay(issued.apiKey, 'once', 1)).body).toBe(first.body);

    const revokedAt = Date.now();
    await keys.revoke(issued.apiKeyId);
    await until(
      async () => (await status(issued.apiKey, 0)) === 401 && (await status(issued.apiKey, 1)) === 401,
    );
    expect(Date.now() - revokedAt).toBeLessThan(PROMPT_MS);
    for (const app of [0, 1]) {
      const replay = await pay(issued.apiKey, 'once', app);
      expect([replay.statusCode, replay.json().code]).toEqual([401, 'unauthorized']);
      expect(replay.headers).not.toHaveProperty('idempotent-replayed');
    }
  });

  it('refuses even a replay after a key lost its scope, and a refusal uses up no idempotency key', async () => {
    const issued = await keys.createMerchant(MERCHANT_NAME);
    expect((await pay(issued.apiKey, 'narrowed', 1)).statusCode).toBe(201);
    await dataSource.query(`UPDATE api_keys SET scopes = '{payments:read}' WHERE api_key_id = $1`, [
      issued.apiKeyId,
    ]);
    await until(async () => (await pay(issued.apiKey, 'narrowed', 1)).statusCode === 403);
    expect((await pay(issued.apiKey, 'refused', 1)).statusCode).toBe(403);
    expect((await ask(issued.apiKey, 1, '/v1/idempotency-keys/refused')).statusCode).toBe(404);
  });

  it('refuses a key once it has expired', async () => {
    const { merchantId } = await keys.createMerchant(MERCHANT_NAME);
    const issued = await keys.createKey(merchantId, ['payments:read'], 1_000);
    expect(await status(issued.apiKey)).toBe(200);
    await until(async () => (await status(issued.apiKey)) === 401);
    expect((await keys.listKeys(merchantId)).at(-1)).toMatchObject({ status: 'expired' });
  });

  it.each([
    ['unknown', async () => 'hpx_live_unknown'],
    ['revoked', revokedKey],
    ['expired', expiredKey],
  ])('says only that a key is not valid if it is %s', async (_state, makeKey) => {
    const answer = await ask(await makeKey());
    expect([answer.statusCode, answer.json().detail]).toEqual([401, 'The API key is not valid.']);
  });

  async function revokedKey(): Promise<string> {
    const { apiKey, apiKeyId } = await keys.createMerchant(MERCHANT_NAME);
    await keys.revoke(apiKeyId);
    return apiKey;
  }

  async function expiredKey(): Promise<string> {
    const { merchantId } = await keys.createMerchant(MERCHANT_NAME);
    const { apiKey } = await keys.createKey(merchantId, ['payments:read'], 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return apiKey;
  }

  it('accepts both keys during the overlap of a rotation, and then only the new one', async () => {
    const old = await keys.createMerchant(MERCHANT_NAME);
    const rotated = await keys.rotate(old.apiKeyId, 1_500);
    expect(rotated).toMatchObject({ merchantId: old.merchantId, scopes: old.scopes, replaces: old.apiKeyId });
    expect([await status(old.apiKey), await status(rotated.apiKey)]).toEqual([200, 200]);
    await until(async () => (await status(old.apiKey)) === 401);
    expect(await status(rotated.apiKey)).toBe(200);
    expect((await keys.listKeys(old.merchantId))[0]).toMatchObject({ replacedBy: rotated.apiKeyId });
  });

  it('rotates without giving the old key more time, or the new one another lifetime', async () => {
    const { merchantId } = await keys.createMerchant(MERCHANT_NAME);
    const old = await keys.createKey(merchantId, ['payments:read'], 60_000);
    const rotated = await keys.rotate(old.apiKeyId, 3_600_000);
    expect(rotated.oldExpiresAt).toEqual(old.expiresAt);
    const lifetimeMs = rotated.expiresAt!.getTime() - rotated.createdAt.getTime();
    expect(Math.abs(lifetimeMs - 60_000)).toBeLessThan(100);
  });

  it('rotates a key only once, even if asked twice at the same time', async () => {
    const old = await keys.createMerchant(MERCHANT_NAME);
    const turns = await Promise.allSettled([
      keys.rotate(old.apiKeyId, 60_000),
      keys.rotate(old.apiKeyId, 60_000),
    ]);
    expect(turns.map((turn) => turn.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(await keys.listKeys(old.merchantId)).toHaveLength(2);
  });

  it('does not rotate a revoked key, and may revoke a key twice', async () => {
    const { apiKeyId } = await keys.createMerchant(MERCHANT_NAME);
    const revokedAt = await keys.revoke(apiKeyId);
    expect(await keys.revoke(apiKeyId)).toEqual(revokedAt);
    await expect(keys.rotate(apiKeyId, 0)).rejects.toThrow(`The API key ${apiKeyId} is revoked`);
  });

  it("neither revokes nor rotates the sandbox's own key", async () => {
    const [own] = await keys.listKeys(SANDBOX_MERCHANT_ID);
    await expect(keys.revoke(own!.apiKeyId)).rejects.toThrow('SANDBOX_API_KEY');
    await expect(keys.rotate(own!.apiKeyId, 0)).rejects.toThrow('SANDBOX_API_KEY');
    expect(own).toMatchObject({ scopes: SCOPES, sandboxOnly: true });
  });

  it.each(['{}', '{payments:read,everything}', null])(
    'has a database that refuses the scopes %s',
    async (scopes) => {
      const { apiKeyId } = await keys.createMerchant(MERCHANT_NAME);
      await expect(
        dataSource.query('UPDATE api_keys SET scopes = $2 WHERE api_key_id = $1', [apiKeyId, scopes]),
      ).rejects.toThrow(/api_keys_scopes|not-null/);
    },
  );

  it('records when a key was last used, with one write a minute and none per request', async () => {
    const issued = await keys.createMerchant(MERCHANT_NAME);
    const unused = await keys.createMerchant(MERCHANT_NAME);
    const lastUsed = async (merchantId: string) => (await keys.listKeys(merchantId))[0]!.lastUsedAt;
    const rowVersion = async () =>
      (await dataSource.query('SELECT xmin::text FROM api_keys WHERE api_key_id = $1', [issued.apiKeyId]))[0]
        .xmin;

    const before = await rowVersion();
    const usedAt = Date.now();
    for (let turn = 0; turn < 20; turn++) expect(await status(issued.apiKey)).toBe(200);
    expect(await rowVersion()).toBe(before);

    await apps[0]!.get(LastUsed).flush();
    const first = await lastUsed(issued.merchantId);
    expect(Math.abs(first!.getTime() - usedAt)).toBeLessThan(1_000);
    expect(await lastUsed(unused.merchantId)).toBeNull();

    // The other process has seen a use too, but the row is already up to date.
    expect(await status(issued.apiKey, 1)).toBe(200);
    await apps[1]!.get(LastUsed).flush();
    expect(await lastUsed(issued.merchantId)).toEqual(first);

    await dataSource.query(`UPDATE api_keys SET last_used_at = last_used_at - interval '2 minutes'`);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(await status(issued.apiKey, 1)).toBe(200);
    await apps[1]!.get(LastUsed).flush();
    expect((await lastUsed(issued.merchantId))!.getTime()).toBeGreaterThan(first!.getTime());
  });

  it('hears of changes again after the listener lost its connection', async () => {
    const issued = await keys.createMerchant(MERCHANT_NAME);
    expect(await status(issued.apiKey)).toBe(200);
    const killed = await dataSource.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'hapax-listener' AND datname = current_database()`,
    );
    expect(killed).toHaveLength(2);
    await until(() => apps.every((app) => !app.get(Listener).listening));
    // Until the listener is back, a cached key lives for at most a second.
    await keys.revoke(issued.apiKeyId);
    await until(async () => (await status(issued.apiKey)) === 401);
    await until(() => apps.every((app) => app.get(Listener).listening));
    const next = await keys.createMerchant(MERCHANT_NAME);
    expect(await status(next.apiKey)).toBe(200);
    const revokedAt = Date.now();
    await keys.revoke(next.apiKeyId);
    await until(async () => (await status(next.apiKey)) === 401);
    expect(Date.now() - revokedAt).toBeLessThan(PROMPT_MS);
  });
});

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const limit = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > limit) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
