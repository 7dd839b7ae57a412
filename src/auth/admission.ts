import type { Socket } from 'node:net';
import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { RefusedError } from '../domain/errors.js';
import { hashApiKey } from './api-key.js';
import type { ApiKey } from './api-keys.store.js';
import { KnownApiKeys } from './known-api-keys.js';
import { RateLimits } from './rate-limits.js';
import type {} from './request-merchant.js';
import type { Scope } from './scopes.js';

/** RFC 9110 section 11.1: the scheme is case-insensitive; RFC 6750 section 2.1: the token is one word. */
export const BEARER = /^bearer +([\x21-\x7e]{1,255})$/i;

/** The hash of the API key in an `Authorization` header; null if the header holds none. */
interface Presented {
  header: string;
  keyHash: string | null;
}

/**
 * Decides whether a request may pass: turns `Authorization: Bearer <api key>` into `request.merchant`, counts the request
 * against the key's rate limit, and checks the key's scopes. Every request passes here, so on a cache hit without a rate
 * limit it returns without a promise. If the database does not answer, it throws its error and admits no one.
 */
@Injectable()
export class Admission {
  /** A client sends one key over its whole connection, so we hash it once. Forgotten with the connection. */
  private readonly presented = new WeakMap<Socket, Presented>();

  constructor(
    private readonly knownKeys: KnownApiKeys,
    private readonly rateLimits: RateLimits,
  ) {}

  /** @throws RefusedError `unauthorized`, `rate_limited` or `forbidden` */
  admit(request: FastifyRequest, reply: FastifyReply, needed: readonly Scope[]): true | Promise<true> {
    const keyHash = this.presentedHash(request);
    if (keyHash === null) return this.refuse(request, missingToken(request.headers.authorization));
    const cached = this.knownKeys.remembered(keyHash);
    if (cached === null) return this.refuse(request, NOT_VALID);
    if (cached !== undefined) return this.accept(cached, needed, request, reply);
    return this.authenticate(keyHash, request).then((apiKey) => this.accept(apiKey, needed, request, reply));
  }

  /** The merchant whose valid API key the request bears, if this process has the key cached. Counts and admits nothing. */
  merchantOf(request: FastifyRequest): string | undefined {
    const keyHash = this.presentedHash(request);
    return keyHash === null ? undefined : this.knownKeys.remembered(keyHash)?.merchantId;
  }

  private presentedHash({ headers, raw }: FastifyRequest): string | null {
    const header = headers.authorization;
    if (header === undefined) return null;
    const before = this.presented.get(raw.socket);
    if (before?.header === header) return before.keyHash;
    const token = BEARER.exec(header)?.[1];
    const keyHash = token === undefined ? null : hashApiKey(token).toString('base64');
    this.presented.set(raw.socket, { header, keyHash });
    return keyHash;
  }

  private accept(
    apiKey: ApiKey,
    needed: readonly Scope[],
    request: FastifyRequest,
    reply: FastifyReply,
  ): true | Promise<true> {
    request.merchant = apiKey;
    if (this.rateLimits.limit === null) return requireScopes(apiKey, needed);
    return this.rateLimits.count(apiKey.apiKeyId, reply).then(() => requireScopes(apiKey, needed));
  }

  private async authenticate(keyHash: string, request: FastifyRequest): Promise<ApiKey> {
    if (!this.knownKeys.isTrusted(keyHash)) await this.rateLimits.checkFailures(request.ip);
    return (await this.knownKeys.lookUp(keyHash)) ?? this.refuse(request, NOT_VALID);
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
