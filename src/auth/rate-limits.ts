import { isIPv6 } from 'node:net';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { CONFIG, type Config, type RateLimit } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';

/**
 * How many requests without a valid key an address may send. A key cannot be guessed at any rate; the limit keeps a
 * client that is set up wrongly, or ill-willed, from asking the database about one unknown key after the other.
 */
const FAILED_AUTHENTICATIONS: RateLimit = { requests: 100, windowSeconds: 10 };

/**
 * Counts requests in fixed windows, in this process: several processes let through as many times the limit. A counter
 * that all of them share would be a write to a database for every request, which is what a limit is to prevent.
 *
 * The library is rate-limiter-flexible and not @fastify/rate-limit, because the latter counts in Fastify's hooks, and
 * whose key a request carries is known only later, in Nest's guard.
 */
@Injectable()
export class RateLimits {
  /** Null when there are no limits, so that a guard can pass them by without a promise. */
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
   * Counts a request of a key, and says on the answer how many are left.
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
   * Counts a message of a key, which has no answer to put headers on.
   * @throws RefusedError `rate_limited`
   */
  async countMessage(apiKeyId: string): Promise<void> {
    if (this.perKey === null) return;
    const { state, allowed } = await consume(this.perKey, apiKeyId);
    if (!allowed) throw rateLimited(state);
  }

  /** Counts a request that was not authenticated. It is refused as it would be anyway. */
  countFailure(address: string): void {
    // `penalty` counts like `consume`, and does not reject what is over the limit.
    void this.failures?.penalty(networkOf(address));
  }

  /**
   * Whether this address may have another key looked up.
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

/** The library rejects with the counter's state, and not with an error. */
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

/** An IPv6 host is free to use any address of its /64, so all of them count as one. */
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
