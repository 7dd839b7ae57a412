import { Body, Controller, Get, Module, Param, Post, Query } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { QueryFailedError } from 'typeorm';
import type { Config } from '../../src/config/config.js';
import { ConfigModule } from '../../src/config/config.module.js';
import { loadConfig } from '../../src/config/load-config.js';
import { type Refusal, RefusedError } from '../../src/domain/errors.js';
import { ApiIdempotencyKey, ApiProblems } from '../../src/http/api-docs.js';
import { createFastifyAdapter } from '../../src/http/fastify.js';
import { HttpModule } from '../../src/http/http.module.js';
import { createLogger } from '../../src/http/logger.js';
import { NestLogger } from '../../src/http/nest-logger.js';
import { setupOpenApi } from '../../src/http/openapi.js';
import { Public } from '../../src/http/public.decorator.js';
import { MetricsModule } from '../../src/metrics/metrics.module.js';
import { CloseThingDto, ThingDto, ThingsQueryDto } from './edge-app.dto.js';

/** What {@link ThingsController.fail} throws next. */
export const failure: { next: unknown } = { next: undefined };

/** The descriptions of the things that were made. */
export const made: string[] = [];

/** What a slow thing waits for. */
export const slowness = { ends: Promise.resolve() };

@Public()
@Controller('v1/things')
class ThingsController {
  @Post()
  @ApiIdempotencyKey('charge')
  @ApiProblems(
    'validation_failed',
    'malformed_body',
    'card_declined',
    'insufficient_funds',
    'service_unavailable',
  )
  async create(@Body() body: ThingDto) {
    made.push(body.description ?? '');
    if (body.description === 'slow') await slowness.ends;
    return { isThing: body instanceof ThingDto, body };
  }

  @Post(':id/close')
  close(@Body() body: CloseThingDto) {
    return { isThing: body instanceof CloseThingDto, body };
  }

  @Get()
  list(@Query() query: ThingsQueryDto) {
    return { query };
  }

  @Get('failure')
  fail(): never {
    throw failure.next;
  }

  @Get(':id')
  read(@Param('id') id: string) {
    return { id };
  }
}

@Module({ controllers: [ThingsController] })
class ThingsModule {}

/** A small service with the real edge and no database. */
export async function createEdgeApp(
  env: Record<string, string> = {},
  logger?: Logger,
): Promise<{ app: NestFastifyApplication; config: Config }> {
  const config = loadConfig({ LOG_LEVEL: 'silent', PORT: '0', ...env });
  const log = logger ?? createLogger(config);
  const app = await NestFactory.create<NestFastifyApplication>(
    { module: EdgeModule, imports: [ConfigModule.forRoot(config), HttpModule, MetricsModule, ThingsModule] },
    createFastifyAdapter(config, log),
    { bodyParser: false, logger: new NestLogger(log), abortOnError: false },
  );
  setupOpenApi(app, config);
  await app.init();
  await app.getHttpAdapter().getInstance().ready();
  return { app, config };
}

@Module({})
class EdgeModule {}

export function refused(refusal: Refusal): RefusedError {
  return new RefusedError(refusal);
}

/** A statement that failed as TypeORM reports it. */
export function failedStatement(code: string, message = 'the server said so'): QueryFailedError {
  return new QueryFailedError('SELECT $1', ['pm_card_visa'], Object.assign(new Error(message), { code }));
}
