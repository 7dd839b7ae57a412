import { Global, Module, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { routeTemplate } from '../http/route-template.js';
import { Metrics } from './metrics.js';
import { MetricsController } from './metrics.controller.js';

/** Global, because every room counts something. */
@Global()
@Module({ controllers: [MetricsController], providers: [Metrics], exports: [Metrics] })
export class MetricsModule implements OnModuleInit {
  constructor(
    private readonly metrics: Metrics,
    private readonly host: HttpAdapterHost<FastifyAdapter>,
  ) {}

  /** A hook and not an interceptor, because a hook also sees requests that are refused before any controller. */
  onModuleInit(): void {
    const instance = this.host.httpAdapter.getInstance<FastifyInstance>();
    instance.addHook('onResponse', (request, reply, done) => {
      this.metrics.requestFinished(
        request.method,
        routeTemplate(request),
        reply.statusCode,
        reply.elapsedTime,
      );
      done();
    });
  }
}
