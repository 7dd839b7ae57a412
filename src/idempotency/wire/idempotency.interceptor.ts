import {
  type CallHandler,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import ms from 'ms';
import { map, type Observable } from 'rxjs';
import { CONFIG, type Config } from '../../config/config.js';
import { RefusedError } from '../../domain/errors.js';
import { Clock } from '../../time/clock.js';
import type { Answer } from '../operation.js';
import { readIdempotencyKey } from './idempotency-key.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency-options.js';
import { readPreferWait } from './prefer.js';

/**
 * The wire side of idempotency: reads the key before the handler, writes the stored answer after it. It claims nothing
 * itself: pipes run inside interceptors, and a body that fails validation must not use up a key.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor<Answer, string> {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly reflector: Reflector,
    private readonly clock: Clock,
  ) {}

  intercept(context: ExecutionContext, next: CallHandler<Answer>): Observable<string> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const reply = context.switchToHttp().getResponse<FastifyReply>();
    const options = this.reflector.get<IdempotencyOptions>(IDEMPOTENCY_OPTIONS, context.getHandler());
    const waitSeconds = readPreferWait(request.headers.prefer);
    request.keyed = {
      operation: options.operation,
      idempotencyKey: this.readKey(request, options),
      requestId: request.id,
      receivedAt: this.clock.now(),
      waitMs: (waitSeconds ?? 0) * 1_000,
      lifetimeMs: options.lifetime === undefined ? null : ms(options.lifetime),
      announceKey: (idempotencyKey) => void reply.header('idempotency-key', idempotencyKey),
    };
    // From here on every answer is a keyed one, refusals included.
    reply.header('idempotent-replayed', 'false');
    if (waitSeconds !== null) reply.header('preference-applied', `wait=${waitSeconds}`);
    return next.handle().pipe(map((answer) => write(reply, answer)));
  }

  private readKey(request: FastifyRequest, { policy = 'configured' }: IdempotencyOptions): string | null {
    const key = readIdempotencyKey(request.raw.rawHeaders);
    const derives =
      policy === 'derived' || (policy === 'configured' && this.config.idempotencyMissingKey === 'derive');
    if (key === null && !derives) throw new RefusedError({ code: 'idempotency_key_missing' });
    return key;
  }
}

/** Status, bytes, Content-Type and Location are replayed. Every other header belongs to this answer alone. */
function write(reply: FastifyReply, answer: Answer): string {
  reply.status(answer.status).header('content-type', answer.contentType);
  if (answer.location !== null) reply.header('location', answer.location);
  if (answer.replayed) reply.header('idempotent-replayed', 'true');
  return answer.body;
}
