import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { CONFIG, type Config } from '../config/config.js';
import { Listener } from '../database/listener.js';
import { type ApiKey, ApiKeysStore } from './api-keys.store.js';
import { LastUsed } from './last-used.js';

/**
 * How long a key that has lost its rights may still be accepted while we hear nothing from the database, and so how
 * often a busy key is looked up. Usually a notification is quicker.
 */
const CACHE_TTL_MS = 1_000;
const MAX_CACHED_KEYS = 10_000;
/** Apart from the valid keys, so that somebody who guesses keys evicts nobody's. */
const MAX_CACHED_UNKNOWN_KEYS = 1_000;

/** Whose an API key is, by its hash, whatever way it came. When the database cannot be asked the error goes up. */
@Injectable()
export class KnownApiKeys {
  private readonly valid = new LRUCache<string, ApiKey>({ max: MAX_CACHED_KEYS, ttl: CACHE_TTL_MS });
  private readonly unknown = new LRUCache<string, true>({ max: MAX_CACHED_UNKNOWN_KEYS, ttl: CACHE_TTL_MS });
  /** Keys that were valid when they were last looked up, whose lookups others at their address cannot use up. */
  private readonly trusted = new LRUCache<string, true>({ max: MAX_CACHED_KEYS });
  /** One lookup a key at a time: when an entry runs out, a hundred requests ask once. */
  private readonly lookups = new Map<string, Promise<ApiKey | null>>();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly apiKeys: ApiKeysStore,
    private readonly lastUsed: LastUsed,
    listener: Listener,
  ) {
    listener.on('hapax_api_keys', () => this.forget());
  }

  /** What is remembered of a key: undefined for nothing, null for a key that is not valid. */
  remembered(cacheKey: string): ApiKey | null | undefined {
    return this.valid.get(cacheKey) ?? (this.unknown.has(cacheKey) ? null : undefined);
  }

  isTrusted(cacheKey: string): boolean {
    return this.trusted.has(cacheKey);
  }

  lookUp(cacheKey: string, keyHash: Buffer): Promise<ApiKey | null> {
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
