import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RefusedError } from '../domain/errors.js';
import { PUBLIC } from '../http/public.decorator.js';
import { hashApiKey } from './api-key.js';
import type { ApiKey } from './api-keys.store.js';
import { KnownApiKeys } from './known-api-keys.js';
import { RateLimits } from './rate-limits.js';
import type { Scope } from './scopes.js';
import { NEEDED_SCOPES } from './scopes.decorator.js';

/** RFC 9110 section 11.1: the scheme is case-insensitive; RFC 6750 section 2.1: the token is one word. */
export const BEARER = /^bearer +([\x21-\x7e]{1,255})$/i;

/**
 * Turns `Authorization: Bearer <api key>` into `request.merchant`, counts the request against the key's rate limit, and
 * checks that the key has the scopes that the route needs. All of this happens before any claim, so a request that is
 * refused here uses up no idempotency key, and a replay is refused like any other request. Every request passes here,
 * so on a cache hit without a rate limit the guard returns without a promise. If the database does not answer, the
 * guard throws its error and admits no one.
 */
@Injectable()
export class ApiKeyGuard implements CanActivate {
  constructor(
    private readonly reflector: Reflector,
    private readonly knownKeys: KnownApiKeys,
    private readonly rateLimits: RateLimits,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const handlers = [context.getHandler(), context.getClass()];
    if (this.reflector.getAllAndOverride<boolean>(PUBLIC, handlers)) return true;
    const needed = this.reflector.getAllAndOverride<Scope[] | undefined>(NEEDED_SCOPES, handlers) ?? [];
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();

    const header = request.headers.authorization;
    const token = header === undefined ? undefined : BEARER.exec(header)?.[1];
    if (token === undefined) return this.refuse(request, missingToken(header));
    const keyHash = hashApiKey(token);
    const hashText = keyHash.toString('base64');
    const cached = this.knownKeys.remembered(hashText);
    if (cached === null) return this.refuse(request, NOT_VALID);
    if (cached !== undefined) return this.admit(cached, needed, request, reply);
    return this.authenticate(hashText, keyHash, request).then((apiKey) =>
      this.admit(apiKey, needed, request, reply),
    );
  }

  private admit(
    apiKey: ApiKey,
    needed: readonly Scope[],
    request: FastifyRequest,
    reply: FastifyReply,
  ): true | Promise<true> {
    request.merchant = apiKey;
    if (this.rateLimits.limit === null) return requireScopes(apiKey, needed);
    return this.rateLimits.count(apiKey.apiKeyId, reply).then(() => requireScopes(apiKey, needed));
  }

  private async authenticate(hashText: string, keyHash: Buffer, request: FastifyRequest): Promise<ApiKey> {
    if (!this.knownKeys.isTrusted(hashText)) await this.rateLimits.checkFailures(request.ip);
    return (await this.knownKeys.lookUp(hashText, keyHash)) ?? this.refuse(request, NOT_VALID);
  }

  private async refuse(request: FastifyRequest, reason: string): Promise<never> {
    await this.rateLimits.checkFailures(request.ip);
    this.rateLimits.countFailure(request.ip);
    throw new RefusedError({ code: 'unauthorized', reason });
  }
}

/** One answer for unknown, expired, revoked and sandbox-only keys: the caller must not learn which. */
export const NOT_VALID = 'The API key is not valid.';

function missingToken(header: string | undefined): string {
  return header === undefined
    ? 'An API key is required: send "Authorization: Bearer <api key>".'
    : 'The Authorization header must be "Bearer <api key>".';
}

export function requireScopes(apiKey: ApiKey, needed: readonly Scope[]): true {
  const lacking = needed.find((scope) => !apiKey.scopes.includes(scope));
  if (lacking === undefined) return true;
  throw new RefusedError({ code: 'forbidden', reason: `This API key lacks the scope ${lacking}.` });
}
