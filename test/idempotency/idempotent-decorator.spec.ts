import { Controller, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { ConfigModule } from '../../src/config/config.module.js';
import { loadConfig } from '../../src/config/load-config.js';
import { createFastifyAdapter } from '../../src/http/fastify.js';
import { HttpModule } from '../../src/http/http.module.js';
import { createLogger } from '../../src/http/logger.js';
import { Idempotent } from '../../src/idempotency/wire/idempotent.decorator.js';
import { Keyed, type KeyedRequest } from '../../src/idempotency/wire/keyed-request.js';
import { ReplayCache } from '../../src/idempotency/replay-cache.js';
import { Clock } from '../../src/time/clock.js';
import type { Answer } from '../../src/idempotency/operation.js';

/** Answers with what the interceptor passed to it. */
function told({ operation, idempotencyKey, lifetimeMs }: KeyedRequest): Answer {
  const body = JSON.stringify({ operation, idempotencyKey, lifetimeMs });
  return { status: 200, contentType: 'application/json', location: null, replayed: false, body };
}

@Controller()
class Routes {
  @Post('configured')
  @Idempotent({ operation: 'one' })
  configured(@Keyed() keyed: KeyedRequest): Answer {
    return told(keyed);
  }

  @Post('required')
  @Idempotent({ operation: 'two', policy: 'required', lifetime: '48h' })
  required(@Keyed() keyed: KeyedRequest): Answer {
    return told(keyed);
  }

  @Post('derived')
  @Idempotent({ operation: 'three', policy: 'derived' })
  derived(@Keyed() keyed: KeyedRequest): Answer {
    return told(keyed);
  }

  @Post('off')
  @Idempotent({ operation: 'four', policy: 'off' })
  off(): { plain: boolean } {
    return { plain: true };
  }
}

describe.each(['reject', 'derive'])('a route under IDEMPOTENCY_MISSING_KEY=%s', (missingKey) => {
  let app: NestFastifyApplication;

  beforeAll(async () => {
    const config = loadConfig({ IDEMPOTENCY_MISSING_KEY: missingKey, LOG_LEVEL: 'silent' });

    @Module({
      imports: [ConfigModule.forRoot(config), HttpModule],
      controllers: [Routes],
      providers: [Clock, ReplayCache],
    })
    class RoutesModule {}

    app = await NestFactory.create<NestFastifyApplication>(
      RoutesModule,
      createFastifyAdapter(config, createLogger(config)),
      { bodyParser: false, logger: false, abortOnError: false },
    );
    await app.init();
  });
  afterAll(() => app.close());

  async function send(url: string, headers: Record<string, string> = {}) {
    const { statusCode, json } = await app.inject({ method: 'POST', url: `/${url}`, headers });
    return { status: statusCode, json: json<Record<string, unknown>>() };
  }

  it('chooses its operation and how long its answers are kept', async () => {
    const headers = { 'idempotency-key': 'k' };
    expect(await send('configured', headers)).toEqual({
      status: 200,
      json: { operation: 'one', idempotencyKey: 'k', lifetimeMs: null },
    });
    expect(await send('required', headers)).toEqual({
      status: 200,
      json: { operation: 'two', idempotencyKey: 'k', lifetimeMs: 48 * 3_600_000 },
    });
  });

  it('chooses what a missing key means: 400, a derived one, or nothing at all', async () => {
    expect(await send('required')).toMatchObject({ status: 400, json: { code: 'idempotency_key_missing' } });
    expect(await send('derived')).toMatchObject({ status: 200, json: { idempotencyKey: null } });
    expect(await send('off')).toEqual({ status: 201, json: { plain: true } });
  });

  it('follows the service’s configuration, unless it chooses itself', async () => {
    expect((await send('configured')).status).toBe(missingKey === 'derive' ? 200 : 400);
  });
});
