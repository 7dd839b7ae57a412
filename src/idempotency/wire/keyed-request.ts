import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { IncomingRequest } from '../operation.js';

/** What the idempotency interceptor reads from a request's headers and its route's options. */
export type KeyedRequest = Pick<
  IncomingRequest<unknown>,
  'operation' | 'idempotencyKey' | 'requestId' | 'receivedAt' | 'waitMs' | 'lifetimeMs' | 'announceKey'
>;

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the idempotency interceptor. Null on routes without `@Idempotent()`. */
    keyed: KeyedRequest | null;
  }
}

/** The key and the other keyed parts of the request. Only for routes with `@Idempotent()`. */
export const Keyed = createParamDecorator((_data: unknown, context: ExecutionContext): KeyedRequest => {
  const { keyed } = context.switchToHttp().getRequest<FastifyRequest>();
  if (keyed === null) throw new Error('@Keyed() on a route that is not @Idempotent()');
  return keyed;
});
