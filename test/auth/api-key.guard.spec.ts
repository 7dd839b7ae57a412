import { Controller, Get, Global, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { DataSource } from 'typeorm';
import { hashApiKey } from '../../src/auth/api-key.js';
import { AuthModule } from '../../src/auth/auth.module.js';
import { CurrentMerchant } from '../../src/auth/merchant.decorator.js';
import { Scopes } from '../../src/auth/scopes.decorator.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { loadConfig } from '../../src/config/load-config.js';
import { Listener } from '../../src/database/listener.js';
import { createFastifyAdapter } from '../../src/http/fastify.js';
import { HttpModule } from '../../src/http/http.module.js';
import { createLogger } from '../../src/http/logger.js';
import { Public } from '../../src/http/public.decorator.js';

@Controller()
class WhoController {
  @Get('who')
  who(@CurrentMerchant() merchantId: string) {
    return { merchantId };
  }

  @Scopes('payments:read')
  @Get('readers')
  readers() {
    return {};
  }

  @Scopes('payments:read', 'refunds:write')
  @Get('refunders')
  refunders() {
    return {};
  }

  @Public()
  @Get('open')
  open() {
    return {};
  }
}

/** A fake database, so that tests can count its lookups, slow them down and make them fail. */
class KeysInMemory {
  lookups = 0;
  down = false;
  readonly keys = new Map<string, unknown>();

  async query(sql: string, [keyHash]: [Buffer]): Promise<unknown[]> {
    if (!sql.startsWith('SELECT')) return [];
    this.lookups++;
    const found = this.keys.get(keyHash.toString('hex'));
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (this.down) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    return found === undefined ? [] : [found];
  }

  add(apiKey: string, merchantId: string, sandboxOnly = false, scopes = ['payments:read']): void {
    this.keys.set(hashApiKey(apiKey).toString('hex'), {
      apiKeyId: `id of ${apiKey}`,
      merchantId,
      sandboxOnly,
      scopes,
      seenAt: new Date(),
    });
  }
}

/** Stands in for the listener: the test calls `tell` when keys change. */
class Word {
  tell: () => void = () => undefined;

  on(_channel: string, listener: () => void): void {
    this.tell = listener;
  }
}

async function createApp(
  database: KeysInMemory,
  word: Word,
  env: Record<string, string> = {},
): Promise<NestFastifyApplication> {
  const config = loadConfig({
    LOG_LEVEL: 'silent',
    SANDBOX: 'false',
    DATABASE_URL: 'postgres://unused/db',
    RATE_LIMIT: 'off',
    ...env,
  });

  @Global()
  @Module({
    providers: [
      { provide: DataSource, useValue: database },
      { provide: Listener, useValue: word },
    ],
    exports: [DataSource, Listener],
  })
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
  let word: Word;
  let app: NestFastifyApplication;

  beforeEach(async () => {
    database = new KeysInMemory();
    word = new Word();
    database.add('sk_one', 'merchant-1');
    database.add('sk_two', 'merchant-2');
    database.add('sk_sandbox', 'merchant-3', true);
    app = await createApp(database, word);
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

  it('needs no key on a public route, and ignores one that is sent', async () => {
    expect((await ask('Bearer nonsense', '/open')).statusCode).toBe(200);
    expect(database.lookups).toBe(0);
  });

  it('looks a key up once for many requests that arrive together', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => ask('Bearer sk_one')));
    expect(answers.every(({ statusCode }) => statusCode === 200)).toBe(true);
    await ask('Bearer sk_one');
    expect(database.lookups).toBe(1);
  });

  it('also caches that a key does not exist', async () => {
    for (let i = 0; i < 5; i++) expect((await ask('Bearer sk_unknown')).statusCode).toBe(401);
    expect(database.lookups).toBe(1);
  });

  it('refuses a revoked key after a second, even without word from the listener', async () => {
    expect((await ask('Bearer sk_one')).statusCode).toBe(200);
    database.keys.clear();
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect((await ask('Bearer sk_one')).statusCode).toBe(401);
  });

  it('admits no one while the database is down, and does not cache that', async () => {
    database.down = true;
    const answer = await ask('Bearer sk_one');
    expect([answer.statusCode, answer.json().code]).toEqual([503, 'service_unavailable']);
    expect(answer.headers['retry-after']).toBe('1');
    database.down = false;
    expect((await ask('Bearer sk_one')).statusCode).toBe(200);
  });

  it('refuses a revoked key as soon as the listener hears of it', async () => {
    expect((await ask('Bearer sk_one')).statusCode).toBe(200);
    database.keys.clear();
    word.tell();
    expect((await ask('Bearer sk_one')).statusCode).toBe(401);
  });

  it('accepts a key that was unknown before as soon as the listener hears of it', async () => {
    expect((await ask('Bearer sk_new')).statusCode).toBe(401);
    database.add('sk_new', 'merchant-4');
    word.tell();
    expect((await ask('Bearer sk_new')).statusCode).toBe(200);
  });

  it('does not cache a lookup that was running when the keys changed', async () => {
    const early = ask('Bearer sk_one');
    while (database.lookups === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    database.keys.clear();
    word.tell();
    expect((await early).statusCode).toBe(200);
    expect((await ask('Bearer sk_one')).statusCode).toBe(401);
  });

  it.each([
    ['/readers', ['payments:read'], 200],
    ['/readers', ['payments:write', 'refunds:write', 'webhooks:manage'], 403],
    ['/refunders', ['payments:read', 'refunds:write'], 200],
    ['/refunders', ['payments:read'], 403],
    ['/refunders', ['refunds:write'], 403],
    ['/who', ['webhooks:manage'], 200],
    ['/open', ['webhooks:manage'], 200],
  ])('answers a request for %s by a key with %p with %i', async (url, scopes, status) => {
    database.add('sk_scoped', 'merchant-1', false, scopes);
    // Once from the database and once from the cache.
    for (let turn = 0; turn < 2; turn++) {
      const answer = await ask('Bearer sk_scoped', url);
      expect(answer.statusCode).toBe(status);
      expect(answer.json().code).toBe(status === 403 ? 'forbidden' : undefined);
    }
  });

  it('names the missing scope', async () => {
    const answer = await ask('Bearer sk_one', '/refunders');
    expect(answer.json().detail).toBe('This API key lacks the scope refunds:write.');
  });

  it('sends no rate limit headers if there is no limit', async () => {
    const { headers } = await ask('Bearer sk_one');
    expect(Object.keys(headers).filter((name) => name.startsWith('ratelimit'))).toEqual([]);
  });
});

describe('the rate limit', () => {
  let database: KeysInMemory;
  let app: NestFastifyApplication;

  beforeEach(async () => {
    database = new KeysInMemory();
    database.add('sk_one', 'merchant-1');
    database.add('sk_two', 'merchant-1');
    app = await createApp(database, new Word(), { RATE_LIMIT: '3/h' });
  });
  afterEach(() => app.close());

  const ask = (apiKey: string, url = '/who', remoteAddress = '192.0.2.1') =>
    app.inject({ url, headers: { authorization: `Bearer ${apiKey}` }, remoteAddress });

  it('allows a key as many requests as it says, and says how many are left', async () => {
    for (const left of [2, 1, 0]) {
      const { statusCode, headers } = await ask('sk_one');
      expect(statusCode).toBe(200);
      expect(headers['ratelimit-policy']).toBe('"default";q=3;w=3600');
      expect(headers['ratelimit']).toMatch(new RegExp(`^"default";r=${left};t=(3600|3599)$`));
    }
    const refused = await ask('sk_one');
    expect(refused.statusCode).toBe(429);
    expect(refused.json()).toMatchObject({ code: 'rate_limited', retry: 'same_key', effect: 'none' });
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(3_500);
    expect(refused.headers['ratelimit']).toMatch(/^"default";r=0;t=3\d{3}$/);
  });

  it('counts per key, not per merchant, and not on public routes', async () => {
    for (let turn = 0; turn < 4; turn++) await ask('sk_one');
    expect((await ask('sk_one')).statusCode).toBe(429);
    expect((await ask('sk_two')).statusCode).toBe(200);
    expect((await ask('sk_one', '/open')).statusCode).toBe(200);
  });

  it('also counts requests for which the key lacks a scope', async () => {
    for (let turn = 0; turn < 3; turn++) expect((await ask('sk_one', '/refunders')).statusCode).toBe(403);
    expect((await ask('sk_one', '/refunders')).statusCode).toBe(429);
  });

  it('stops an address that tries one unknown key after another, without asking the database', async () => {
    for (let turn = 0; turn < 100; turn++) expect((await ask(`sk_guess_${turn}`)).statusCode).toBe(401);
    const { lookups } = database;
    const refused = await ask('sk_guess_100');
    expect([refused.statusCode, refused.json().code]).toEqual([429, 'rate_limited']);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await app.inject({ url: '/who', remoteAddress: '192.0.2.1' })).statusCode).toBe(429);
    expect(database.lookups).toBe(lookups);
    expect((await ask('sk_guess_101', '/who', '192.0.2.2')).statusCode).toBe(401);
  });

  it('never stops a known valid key because of failures from the same address', async () => {
    expect((await ask('sk_one')).statusCode).toBe(200);
    for (let turn = 0; turn <= 100; turn++) await ask('sk_guess');
    expect((await ask('sk_guess')).statusCode).toBe(429);
    // By then its cache entry has expired, so it needs another lookup.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect((await ask('sk_one')).statusCode).toBe(200);
  });

  it.each([
    ['2001:db8:0:1::1', '2001:db8:0:1:ffff::2', 429],
    ['2001:db8::1', '2001:db8:0:0:9::1', 429],
    ['2001:db8:0:1::1', '2001:db8:0:2::1', 401],
    ['::ffff:192.0.2.7', '192.0.2.7', 429],
  ])('after failures from %s, %s gets %i', async (first, second, status) => {
    for (let turn = 0; turn < 100; turn++) await ask('sk_guess', '/who', first);
    expect((await ask('sk_guess', '/who', second)).statusCode).toBe(status);
  });

  it('believes only a trusted proxy about the client address', async () => {
    const proxied = await createApp(database, new Word(), {
      RATE_LIMIT: '3/h',
      TRUSTED_PROXIES: '10.0.0.0/8',
    });
    const from = (client: string, remoteAddress: string) =>
      proxied.inject({ url: '/who', headers: { 'x-forwarded-for': client }, remoteAddress });
    for (let turn = 0; turn < 100; turn++) await from('198.51.100.1', '10.1.2.3');
    expect((await from('198.51.100.1', '10.9.9.9')).statusCode).toBe(429);
    expect((await from('198.51.100.2', '10.1.2.3')).statusCode).toBe(401);
    expect((await from('198.51.100.1', '203.0.113.9')).statusCode).toBe(401);
    await proxied.close();
  });
});
