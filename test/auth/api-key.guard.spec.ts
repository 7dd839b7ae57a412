import { Controller, Get, Global, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DataSource } from 'typeorm';
import { hashApiKey } from '../../src/auth/api-keys.store.js';
import { AuthModule } from '../../src/auth/auth.module.js';
import { CurrentMerchant } from '../../src/auth/merchant.decorator.js';
import { Public } from '../../src/auth/public.decorator.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { loadConfig } from '../../src/config/config.js';
import { createFastifyAdapter } from '../../src/http/fastify.js';
import { HttpModule } from '../../src/http/http.module.js';
import { createLogger } from '../../src/http/logger.js';

@Controller()
class WhoController {
  @Get('who')
  who(@CurrentMerchant() merchantId: string) {
    return { merchantId };
  }

  @Public()
  @Get('open')
  open() {
    return {};
  }
}

/** Stands for the database, so that its lookups can be counted, slowed down and made to fail. */
class KeysInMemory {
  lookups = 0;
  down = false;
  readonly keys = new Map<string, { apiKeyId: string; merchantId: string; sandboxOnly: boolean }>();

  async query(_sql: string, [keyHash]: [Buffer]): Promise<unknown[]> {
    this.lookups++;
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (this.down) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const found = this.keys.get(keyHash.toString('hex'));
    return found === undefined ? [] : [found];
  }

  add(apiKey: string, merchantId: string, sandboxOnly = false): void {
    this.keys.set(hashApiKey(apiKey).toString('hex'), {
      apiKeyId: `id of ${apiKey}`,
      merchantId,
      sandboxOnly,
    });
  }
}

async function createApp(database: KeysInMemory): Promise<NestFastifyApplication> {
  const config = loadConfig({ LOG_LEVEL: 'silent', SANDBOX: 'false', DATABASE_URL: 'postgres://unused/db' });

  @Global()
  @Module({ providers: [{ provide: DataSource, useValue: database }], exports: [DataSource] })
  class DatabaseModule {}

  @Module({
    imports: [ConfigModule.forRoot(config), DatabaseModule, HttpModule, AuthModule],
    controllers: [WhoController],
  })
  class AppModule {}

  const adapter = createFastifyAdapter(config, createLogger(config));
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, adapter, {
    bodyParser: false,
    logger: false,
    abortOnError: false,
  });
  await app.init();
  return app;
}

describe('the API key guard', () => {
  let database: KeysInMemory;
  let app: NestFastifyApplication;

  beforeEach(async () => {
    database = new KeysInMemory();
    database.add('sk_one', 'merchant-1');
    database.add('sk_two', 'merchant-2');
    database.add('sk_sandbox', 'merchant-3', true);
    app = await createApp(database);
  });
  afterEach(() => app.close());

  const ask = (authorization?: string, url = '/who') =>
    app.inject({ url, headers: authorization === undefined ? {} : { authorization } });

  it.each([
    ['Bearer sk_one', 'merchant-1'],
    ['bearer sk_one', 'merchant-1'],
    ['BEARER   sk_two', 'merchant-2'],
  ])('turns %p into %s', async (authorization, merchantId) => {
    expect((await ask(authorization)).json()).toEqual({ merchantId });
  });

  it.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'sk_one',
    'Basic sk_one',
    'Bearer sk_one sk_two',
    'Bearer sk_unknown',
    `Bearer ${'x'.repeat(300)}`,
    'Bearer sk_sandbox',
  ])('answers %p with 401 and a challenge', async (authorization) => {
    const answer = await ask(authorization);
    expect([answer.statusCode, answer.json().code]).toEqual([401, 'unauthorized']);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
    expect(answer.body).not.toMatch(/sk_/);
  });

  it('asks nobody for a key on a public route, and does not look at one either', async () => {
    expect((await ask('Bearer nonsense', '/open')).statusCode).toBe(200);
    expect(database.lookups).toBe(0);
  });

  it('looks a key up once, however many requests arrive together', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask('Bearer sk_one')));
    expect(answers.every(({ statusCode }) => statusCode === 200)).toBe(true);
    await ask('Bearer sk_one');
    expect(database.lookups).toBe(1);
  });

  it('remembers a key that does not exist, too', async () => {
    for (let i = 0; i < 5; i++) expect((await ask('Bearer sk_unknown')).statusCode).toBe(401);
    expect(database.lookups).toBe(1);
  });

  it('refuses a revoked key after a second', async () => {
    expect((await ask('Bearer sk_one')).statusCode).toBe(200);
    database.keys.clear();
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect((await ask('Bearer sk_one')).statusCode).toBe(401);
  });

  it('lets nobody in while the database is down, and remembers nothing of it', async () => {
    database.down = true;
    const answer = await ask('Bearer sk_one');
    expect([answer.statusCode, answer.json().code]).toEqual([503, 'service_unavailable']);
    expect(answer.headers['retry-after']).toBe('1');
    database.down = false;
    expect((await ask('Bearer sk_one')).statusCode).toBe(200);
  });
});
