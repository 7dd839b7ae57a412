import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { map, type Observable } from 'rxjs';
import { Clock } from '../operations/clock.js';
import type { Answer } from '../operations/operation.js';
import { readIdempotencyKey } from './idempotency-key.js';
import { readPreferWait } from './prefer.js';

/**
 * The wire side of idempotency: reads the key before the handler, writes the stored answer after it. It claims
 * nothing itself, because pipes run inside interceptors and a body that fails validation must not use a key up.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor<Answer, string> {
  constructor(private readonly clock: Clock) {}

  intercept(context: ExecutionContext, next: CallHandler<Answer>): Observable<string> {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const reply = context.switchToHttp().getResponse<FastifyReply>();
    const waitSeconds = readPreferWait(request.headers.prefer);
    request.keyed = {
      idempotencyKey: readIdempotencyKey(request.raw.rawHeaders),
      requestId: request.id,
      receivedAt: this.clock.now(),
      waitMs: (waitSeconds ?? 0) * 1_000,
    };
    // From here on every answer is a keyed one, refusals included.
    reply.header('idempotent-replayed', 'false');
    if (waitSeconds !== null) reply.header('preference-applied', `wait=${waitSeconds}`);
    return next.handle().pipe(map((answer) => write(reply, answer)));
  }
}

/** Status, bytes, Content-Type and Location are replayed; every other header belongs to this answer alone. */
function write(reply: FastifyReply, answer: Answer): string {
  reply.status(answer.status).header('content-type', answer.contentType);
  if (answer.location !== null) reply.header('location', answer.location);
  if (answer.replayed) reply.header('idempotent-replayed', 'true');
  return answer.body;
}
