import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import { CONFIG, type Config } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';
import { type ApiKey, ApiKeysStore, hashApiKey } from './api-keys.store.js';
import { PUBLIC } from './public.decorator.js';
import type { RequestMerchant } from './request-merchant.js';

/** How long a revoked key may still be accepted, and so how often a busy key is looked up. */
const CACHE_TTL_MS = 1_000;
const MAX_CACHED_KEYS = 10_000;
/** Apart from the valid keys, so that somebody who guesses keys evicts nobody's. */
const MAX_CACHED_UNKNOWN_KEYS = 1_000;

/** RFC 9110 section 11.1: the scheme is case-insensitive; RFC 6750 section 2.1: the token is one word. */
const BEARER = /^bearer +([\x21-\x7e]{1,255})$/i;

/**
 * Turns `Authorization: Bearer <api key>` into `request.merchant`. On a cache hit it answers without a promise, since
 * every request passes here. When the database cannot be asked it lets the error go up: no answer, no entry.
 */
@Injectable()
export class ApiKeyGuard implements CanActivate {
  private readonly valid = new LRUCache<string, ApiKey>({ max: MAX_CACHED_KEYS, ttl: CACHE_TTL_MS });
  private readonly unknown = new LRUCache<string, true>({ max: MAX_CACHED_UNKNOWN_KEYS, ttl: CACHE_TTL_MS });
  /** One lookup a key at a time: when an entry runs out, a hundred requests ask once. */
  private readonly lookups = new Map<string, Promise<ApiKey | null>>();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly reflector: Reflector,
    private readonly apiKeys: ApiKeysStore,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    if (this.reflector.getAllAndOverride<boolean>(PUBLIC, [context.getHandler(), context.getClass()]))
      return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const keyHash = hashApiKey(bearerToken(request));
    const cacheKey = keyHash.toString('base64');
    const cached = this.valid.get(cacheKey);
    if (cached !== undefined) return this.admit(request, cached);
    if (this.unknown.has(cacheKey)) throw notValid();
    return this.lookUp(cacheKey, keyHash).then((apiKey) => this.admit(request, apiKey));
  }

  private admit(request: FastifyRequest, apiKey: ApiKey | null): true {
    if (apiKey === null || (apiKey.sandboxOnly && !this.config.sandbox)) throw notValid();
    const merchant: RequestMerchant = { merchantId: apiKey.merchantId, apiKeyId: apiKey.apiKeyId };
    request.merchant = merchant;
    return true;
  }

  private lookUp(cacheKey: string, keyHash: Buffer): Promise<ApiKey | null> {
    const running = this.lookups.get(cacheKey);
    if (running !== undefined) return running;
    const lookup = this.apiKeys
      .findValid(keyHash)
      .then((apiKey) => {
        if (apiKey === null) this.unknown.set(cacheKey, true);
        else this.valid.set(cacheKey, apiKey);
        return apiKey;
      })
      .finally(() => this.lookups.delete(cacheKey));
    this.lookups.set(cacheKey, lookup);
    return lookup;
  }
}

function bearerToken(request: FastifyRequest): string {
  const header = request.headers.authorization;
  if (header === undefined)
    throw unauthorized('An API key is required: send "Authorization: Bearer <api key>".');
  const token = BEARER.exec(header)?.[1];
  if (token === undefined) throw unauthorized('The Authorization header must be "Bearer <api key>".');
  return token;
}

/** One answer for unknown, expired, revoked and out of place: which it was is nobody's business without a key. */
function notValid(): RefusedError {
  return unauthorized('The API key is not valid.');
}

function unauthorized(reason: string): RefusedError {
  return new RefusedError({ code: 'unauthorized', reason });
}
