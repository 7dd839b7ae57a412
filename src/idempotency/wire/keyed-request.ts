import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';

/** What the idempotency interceptor read of a request's headers and of its route's policy. */
export interface KeyedRequest {
  /** The operation's name, as its claims carry it. */
  readonly operation: string;
  /** Null where the client sent none and the route lets it be derived. */
  readonly idempotencyKey: string | null;
  readonly requestId: string;
  readonly receivedAt: Date;
  /** From `Prefer: wait=N`: how long the client lets us wait for the first answer. */
  readonly waitMs: number;
  /** How long the answer is kept; null as configured. */
  readonly lifetimeMs: number | null;
  /** Tells the client the key that was derived, whatever the answer will be. */
  readonly announceKey: (idempotencyKey: string) => void;
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
