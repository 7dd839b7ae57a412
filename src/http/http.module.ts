import { Module, type OnApplicationBootstrap } from '@nestjs/common';
import { APP_FILTER, APP_PIPE, HttpAdapterHost } from '@nestjs/core';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { Drain } from './drain.js';
import { ProblemFilter } from './problem.filter.js';
import { ProblemsController } from './problems.controller.js';
import { PublicUrl } from './public-url.js';
import { ValidationPipe } from './validation.pipe.js';

/** The edge: every error becomes a problem document, every DTO is validated. */
@Module({
  controllers: [ProblemsController],
  providers: [
    PublicUrl,
    { provide: APP_FILTER, useClass: ProblemFilter },
    { provide: APP_PIPE, useClass: ValidationPipe },
  ],
  exports: [PublicUrl],
})
export class HttpModule implements OnApplicationBootstrap {
  constructor(private readonly host: HttpAdapterHost<FastifyAdapter>) {}

  /** After every module's own `preClose`, so that the health check says that we stop while we drain. */
  onApplicationBootstrap(): void {
    const instance = this.host.httpAdapter.getInstance<FastifyInstance>();
    const drain = new Drain(instance.server);
    instance.addHook('preClose', () => drain.run());
  }
}
