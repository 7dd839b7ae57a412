import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

/** What the idempotency interceptor read of a request's headers. */
export interface KeyedRequest {
  readonly idempotencyKey: string;
  readonly requestId: string;
  readonly receivedAt: Date;
  /** From `Prefer: wait=N`: how long the client lets us wait for the first answer. */
  readonly waitMs: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the idempotency interceptor; null on routes that are not `@Idempotent()`. */
    keyed: KeyedRequest | null;
  }
}

/** The key and its circumstances. For routes that are `@Idempotent()`. */
export const Keyed = createParamDecorator((_data: unknown, context: ExecutionContext): KeyedRequest => {
  const { keyed } = context.switchToHttp().getRequest<FastifyRequest>();
  if (keyed === null) throw new Error('@Keyed() on a route that is not @Idempotent()');
  return keyed;
});
