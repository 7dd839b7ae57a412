import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import { CONFIG, type Config } from '../config/config.js';
import { Notifications } from '../database/notifications.js';
import { RefusedError } from '../domain/errors.js';
import { hashApiKey } from './api-key.js';
import { type ApiKey, ApiKeysStore } from './api-keys.store.js';
import { LastUsed } from './last-used.js';
import { PUBLIC } from './public.decorator.js';
import { RateLimits } from './rate-limits.js';
import { NEEDED_SCOPES } from './scopes.decorator.js';
import type { Scope } from './scopes.js';

/**
 * How long a key that has lost its rights may still be accepted while we hear nothing from the database, and so how
 * often a busy key is looked up. Usually a notification is quicker.
 */
const CACHE_TTL_MS = 1_000;
const MAX_CACHED_KEYS = 10_000;
/** Apart from the valid keys, so that somebody who guesses keys evicts nobody's. */
const MAX_CACHED_UNKNOWN_KEYS = 1_000;

/** RFC 9110 section 11.1: the scheme is case-insensitive; RFC 6750 section 2.1: the token is one word. */
const BEARER = /^bearer +([\x21-\x7e]{1,255})$/i;

/**
 * Turns `Authorization: Bearer <api key>` into `request.merchant`, counts the request against the key's rate limit, and
 * asks the key for the scopes that the route needs. All of it happens before any claim, so what is refused here uses no
 * idempotency key up, and a replay is refused like any other request. On a cache hit without a rate limit it answers
 * without a promise, since every request passes here. When the database cannot be asked it lets the error go up: no
 * answer, no entry.
 */
@Injectable()
export class ApiKeyGuard implements CanActivate {
  private readonly valid = new LRUCache<string, ApiKey>({ max: MAX_CACHED_KEYS, ttl: CACHE_TTL_MS });
  private readonly unknown = new LRUCache<string, true>({ max: MAX_CACHED_UNKNOWN_KEYS, ttl: CACHE_TTL_MS });
  /** Keys that were valid when they were last looked up, whose lookups others at their address cannot use up. */
  private readonly trusted = new LRUCache<string, true>({ max: MAX_CACHED_KEYS });
  /** One lookup a key at a time: when an entry runs out, a hundred requests ask once. */
  private readonly lookups = new Map<string, Promise<ApiKey | null>>();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly reflector: Reflector,
    private readonly apiKeys: ApiKeysStore,
    private readonly lastUsed: LastUsed,
    private readonly rateLimits: RateLimits,
    notifications: Notifications,
  ) {
    notifications.on('hapax_api_keys', () => this.forget());
  }

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
    const cacheKey = keyHash.toString('base64');
    const cached = this.valid.get(cacheKey);
    if (cached !== undefined) return this.admit(cached, needed, request, reply);
    return this.authenticate(cacheKey, keyHash, request).then((apiKey) =>
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

  private async authenticate(cacheKey: string, keyHash: Buffer, request: FastifyRequest): Promise<ApiKey> {
    if (this.unknown.has(cacheKey)) return this.refuse(request, NOT_VALID);
    if (!this.trusted.has(cacheKey)) await this.rateLimits.checkFailures(request.ip);
    return (await this.lookUp(cacheKey, keyHash)) ?? this.refuse(request, NOT_VALID);
  }

  private async refuse(request: FastifyRequest, reason: string): Promise<never> {
    await this.rateLimits.checkFailures(request.ip);
    this.rateLimits.countFailure(request.ip);
    throw new RefusedError({ code: 'unauthorized', reason });
  }

  private lookUp(cacheKey: string, keyHash: Buffer): Promise<ApiKey | null> {
    const running = this.lookups.get(cacheKey);
    if (running !== undefined) return running;
    const lookup = this.findAccepted(keyHash)
      .then((apiKey) => {
        // What was read before the keys changed is an answer to those who had asked by then, and to nobody else.
        if (this.lookups.get(cacheKey) === lookup) this.remember(cacheKey, apiKey);
        return apiKey;
      })
      .finally(() => {
        if (this.lookups.get(cacheKey) === lookup) this.lookups.delete(cacheKey);
      });
    this.lookups.set(cacheKey, lookup);
    return lookup;
  }

  private async findAccepted(keyHash: Buffer): Promise<ApiKey | null> {
    const apiKey = await this.apiKeys.findValid(keyHash);
    return apiKey?.sandboxOnly && !this.config.sandbox ? null : apiKey;
  }

  private remember(cacheKey: string, apiKey: ApiKey | null): void {
    if (apiKey === null) {
      this.unknown.set(cacheKey, true);
      this.trusted.delete(cacheKey);
      return;
    }
    this.valid.set(cacheKey, apiKey);
    this.trusted.set(cacheKey, true);
    this.lastUsed.saw(apiKey);
  }

  /** Some key has changed, and nobody says which. */
  private forget(): void {
    this.valid.clear();
    this.unknown.clear();
    this.lookups.clear();
  }
}

/** One answer for unknown, expired, revoked and out of place: which it was is nobody's business without a key. */
const NOT_VALID = 'The API key is not valid.';

function missingToken(header: string | undefined): string {
  return header === undefined
    ? 'An API key is required: send "Authorization: Bearer <api key>".'
    : 'The Authorization header must be "Bearer <api key>".';
}

function requireScopes(apiKey: ApiKey, needed: readonly Scope[]): true {
  const lacking = needed.find((scope) => !apiKey.scopes.includes(scope));
  if (lacking === undefined) return true;
  throw new RefusedError({ code: 'forbidden', reason: `This API key lacks the scope ${lacking}.` });
}
