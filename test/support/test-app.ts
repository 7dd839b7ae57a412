import { randomUUID } from 'node:crypto';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import supertest from 'supertest';
import { v7 as uuidv7 } from 'uuid';
import { closeApp, createApp } from '../../src/app.js';
import { hashApiKey } from '../../src/auth/api-key.js';
import { loadConfig } from '../../src/config/load-config.js';
import { createLogger } from '../../src/http/logger.js';
import { API_KEY, chargeBody, newKey } from './client.js';
import { Evidence } from './evidence.js';
import { createTemporaryFolder, createTestDatabase } from './postgres.js';

export interface SendOptions {
  key?: string | undefined;
  apiKey?: string | undefined;
  headers?: Record<string, string>;
}

/** The whole service inside the test, with its own database and gateway. */
export class TestApp {
  private constructor(
    readonly app: NestFastifyApplication,
    readonly evidence: Evidence,
    private readonly cleanUp: () => Promise<void>,
  ) {}

  /** @param create puts the service together; a test may add a room of its own */
  static async start(env: Readonly<Record<string, string>> = {}, create = createApp): Promise<TestApp> {
    const database = await createTestDatabase();
    const folder = await createTemporaryFolder();
    const config = loadConfig({
      DATABASE_URL: database.url,
      DATA_DIR: folder.path,
      SANDBOX: 'true',
      LOG_LEVEL: 'silent',
      ...env,
    });
    const app = await create(config, database.url, createLogger(config));
    // A test sends many requests at once, so the app listens once rather than for each request.
    await app.listen(0, '127.0.0.1');
    return new TestApp(app, new Evidence(database.url, folder.path), async () => {
      await database.drop();
      await folder.remove();
    });
  }

  /** Sends a charge as a client does. An object is sent as JSON, a string as it is. */
  post(
    body: object | string = chargeBody(),
    { key = newKey(), apiKey = API_KEY, headers = {} }: SendOptions = {},
  ) {
    return supertest(this.app.getHttpServer())
      .post('/v1/payments')
      .set({
        authorization: `Bearer ${apiKey}`,
        'content-type': 'application/json',
        'idempotency-key': key,
        ...headers,
      })
      .send(body);
  }

  get(path: string, apiKey = API_KEY) {
    return supertest(this.app.getHttpServer()).get(path).set('authorization', `Bearer ${apiKey}`);
  }

  /** Another tenant, and its API key. */
  async addMerchant(): Promise<{ merchantId: string; apiKey: string }> {
    const merchantId = uuidv7();
    const apiKey = `sk_test_${randomUUID()}`;
    await this.evidence.query('INSERT INTO merchants (merchant_id, name) VALUES ($1, $2)', [
      merchantId,
      'Another',
    ]);
    await this.evidence.query(
      `INSERT INTO api_keys (api_key_id, merchant_id, key_hash, key_prefix, scopes)
       VALUES ($1, $2, $3, $4, '{payments:read,payments:write,refunds:write}')`,
      [uuidv7(), merchantId, hashApiKey(apiKey), apiKey.slice(0, 8)],
    );
    return { merchantId, apiKey };
  }

  async stop(): Promise<void> {
    // The test is over, so nothing comes on them any more.
    this.app.getHttpServer().closeIdleConnections();
    await closeApp(this.app);
    await this.evidence.close();
    await this.cleanUp();
  }
}
