import { isIPv6 } from 'node:net';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { CONFIG, type Config, type RateLimit } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';

/**
 * How many requests without a valid key an address may send. Nobody can guess a key, however fast they try. The limit
 * keeps a misconfigured or malicious client from making us look up one unknown key after another in the database.
 */
const FAILED_AUTHENTICATIONS: RateLimit = { requests: 100, windowSeconds: 10 };

/**
 * Counts requests in fixed windows, per process: with n processes, a key gets n times the limit. A shared counter would
 * cost a database write for every request, and a limit exists to prevent exactly that load.
 *
 * We use rate-limiter-flexible and not @fastify/rate-limit, because the latter counts in Fastify's hooks, and we know
 * the API key of a request only later, in Nest's guard.
 */
@Injectable()
export class RateLimits {
  /** Null when there are no limits, so that the guard can skip counting without a promise. */
  readonly limit: RateLimit | null;
  private readonly perKey: RateLimiterMemory | null;
  private readonly failures: RateLimiterMemory | null;
  private readonly policy: string;

  constructor(@Inject(CONFIG) config: Config) {
    this.limit = config.rateLimit;
    this.perKey = limiterOf(this.limit);
    this.failures = this.limit === null ? null : limiterOf(FAILED_AUTHENTICATIONS);
    // draft-ietf-httpapi-ratelimit-headers-10: the policy's name, its quota, its window.
    const { requests, windowSeconds } = this.limit ?? { requests: 0, windowSeconds: 0 };
    this.policy = `"default";q=${requests};w=${windowSeconds}`;
  }

  /**
   * Counts a request against a key's limit, and says in the answer's headers how many are left.
   * @throws RefusedError `rate_limited`
   */
  async count(apiKeyId: string, reply: FastifyReply): Promise<void> {
    if (this.perKey === null) return;
    const { state, allowed } = await consume(this.perKey, apiKeyId);
    void reply
      .header('ratelimit-policy', this.policy)
      .header('ratelimit', `"default";r=${state.remainingPoints};t=${secondsLeft(state)}`);
    if (!allowed) throw rateLimited(state);
  }

  /**
   * Counts a broker message against a key's limit. There is no HTTP answer to put headers on.
   * @throws RefusedError `rate_limited`
   */
  async countMessage(apiKeyId: string): Promise<void> {
    if (this.perKey === null) return;
    const { state, allowed } = await consume(this.perKey, apiKeyId);
    if (!allowed) throw rateLimited(state);
  }

  /** Counts a request that failed authentication. It never throws: the caller refuses the request anyway. */
  countFailure(address: string): void {
    // `penalty` counts like `consume`, but does not reject when the count is over the limit.
    void this.failures?.penalty(networkOf(address));
  }

  /**
   * Checks that this address may have another key looked up.
   * @throws RefusedError `rate_limited`
   */
  async checkFailures(address: string): Promise<void> {
    const state = (await this.failures?.get(networkOf(address))) ?? null;
    if (state !== null && state.consumedPoints >= FAILED_AUTHENTICATIONS.requests) throw rateLimited(state);
  }
}

function limiterOf(limit: RateLimit | null): RateLimiterMemory | null {
  if (limit === null) return null;
  return new RateLimiterMemory({ points: limit.requests, duration: limit.windowSeconds, keyPrefix: '' });
}

/** Over the limit, the library rejects with the counter's state instead of an error. */
async function consume(
  limiter: RateLimiterMemory,
  key: string,
): Promise<{ state: RateLimiterRes; allowed: boolean }> {
  try {
    return { state: await limiter.consume(key), allowed: true };
  } catch (state) {
    if (state instanceof RateLimiterRes) return { state, allowed: false };
    throw state;
  }
}

function rateLimited(state: RateLimiterRes): RefusedError {
  return new RefusedError({ code: 'rate_limited', retryAfterSeconds: Math.max(1, secondsLeft(state)) });
}

function secondsLeft({ msBeforeNext }: RateLimiterRes): number {
  return Math.max(0, Math.ceil(msBeforeNext / 1_000));
}

/** An IPv6 host can use any address in its /64, so we count the whole /64 as one address. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = '', tail = ''] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const last = tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - groups.length - last.length }, () => '0');
  return [...groups, ...(address.includes('::') ? zeros : []), ...last].slice(0, 4).join(':');
}
