import { Module, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { EventsModule } from '../events/events.module.js';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { HealthController } from './health.controller.js';
import { Readiness } from './readiness.js';

@Module({
  imports: [EventsModule, IdempotencyModule],
  controllers: [HealthController],
  providers: [Readiness],
})
export class HealthModule implements OnModuleInit {
  constructor(
    private readonly readiness: Readiness,
    private readonly host: HttpAdapterHost<FastifyAdapter>,
  ) {}

  /** `preClose` runs first in any shutdown, whatever started it. Connections that are already open may still ask. */
  onModuleInit(): void {
    const instance = this.host.httpAdapter.getInstance<FastifyInstance>();
    instance.addHook('preClose', (done) => {
      this.readiness.stop();
      done();
    });
  }
}
