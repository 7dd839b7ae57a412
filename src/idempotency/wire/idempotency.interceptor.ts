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
import { ReplayCache } from '../replay-cache.js';
import { readIdempotencyKey } from './idempotency-key.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency-options.js';
import { answeredRequest } from './identical-requests.js';
import { beginKeyedAnswer, writeAnswer } from './keyed-answer.js';
import { readPreferWait } from './prefer.js';

/**
 * The wire side of idempotency: reads the key before the handler, writes the stored answer after it, and remembers
 * which bytes got it. It claims nothing
 * itself: pipes run inside interceptors, and a body that fails validation must not use up a key.
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor<Answer, string> {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly reflector: Reflector,
    private readonly clock: Clock,
    private readonly replays: ReplayCache,
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
    beginKeyedAnswer(reply, waitSeconds);
    return next.handle().pipe(
      map((answer) => {
        this.remember(request, answer);
        return writeAnswer(reply, answer);
      }),
    );
  }

  private remember(request: FastifyRequest, answer: Answer): void {
    const { merchant, keyed } = request;
    if (merchant === null || !keyed?.idempotencyKey) return;
    const answered = answeredRequest(request);
    if (answered === null) return;
    const key = { merchantId: merchant.merchantId, idempotencyKey: keyed.idempotencyKey };
    this.replays.answered(key, answer, answered);
  }

  private readKey(request: FastifyRequest, { policy = 'configured' }: IdempotencyOptions): string | null {
    const key = readIdempotencyKey(request.raw.rawHeaders);
    const derives =
      policy === 'derived' || (policy === 'configured' && this.config.idempotencyMissingKey === 'derive');
    if (key === null && !derives) throw new RefusedError({ code: 'idempotency_key_missing' });
    return key;
  }
}
