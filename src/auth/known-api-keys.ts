import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { CONFIG, type Config } from '../config/config.js';
import { Listener } from '../database/listener.js';
import { type ApiKey, ApiKeysStore } from './api-keys.store.js';
import { LastUsed } from './last-used.js';

/**
 * How long we may still accept a key that is no longer valid, if we hear nothing from the database. It is also how
 * often a busy key is looked up. Usually the listener hears of the change sooner.
 */
const CACHE_TTL_MS = 1_000;
const MAX_CACHED_KEYS = 10_000;
/** Kept apart from the valid keys, so that someone who guesses keys cannot evict those. */
const MAX_CACHED_UNKNOWN_KEYS = 1_000;

/** Finds an API key by its hash (in base64), for HTTP and broker alike. Throws the database's error if it does not answer. */
@Injectable()
export class KnownApiKeys {
  private readonly valid = new LRUCache<string, ApiKey>({ max: MAX_CACHED_KEYS, ttl: CACHE_TTL_MS });
  private readonly unknown = new LRUCache<string, true>({ max: MAX_CACHED_UNKNOWN_KEYS, ttl: CACHE_TTL_MS });
  /** Keys that were valid at their last lookup. Failures from the same address do not block their next lookup. */
  private readonly trusted = new LRUCache<string, true>({ max: MAX_CACHED_KEYS });
  /** One lookup per key at a time: when an entry expires, a hundred requests share one query. */
  private readonly lookups = new Map<string, Promise<ApiKey | null>>();

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly apiKeys: ApiKeysStore,
    private readonly lastUsed: LastUsed,
    listener: Listener,
  ) {
    listener.on('hapax_api_keys', () => this.forget());
  }

  /** The cached key: undefined if nothing is cached, null if the key is not valid. */
  remembered(hashText: string): ApiKey | null | undefined {
    return this.valid.get(hashText) ?? (this.unknown.has(hashText) ? null : undefined);
  }

  isTrusted(hashText: string): boolean {
    return this.trusted.has(hashText);
  }

  lookUp(hashText: string): Promise<ApiKey | null> {
    const running = this.lookups.get(hashText);
    if (running !== undefined) return running;
    const lookup = this.findAccepted(Buffer.from(hashText, 'base64'))
      .then((apiKey) => {
        // If the keys changed during this lookup, its answer goes only to those who already wait for it.
        if (this.lookups.get(hashText) === lookup) this.remember(hashText, apiKey);
        return apiKey;
      })
      .finally(() => {
        if (this.lookups.get(hashText) === lookup) this.lookups.delete(hashText);
      });
    this.lookups.set(hashText, lookup);
    return lookup;
  }

  private async findAccepted(keyHash: Buffer): Promise<ApiKey | null> {
    const apiKey = await this.apiKeys.findValid(keyHash);
    return apiKey?.sandboxOnly && !this.config.sandbox ? null : apiKey;
  }

  private remember(hashText: string, apiKey: ApiKey | null): void {
    if (apiKey === null) {
      this.unknown.set(hashText, true);
      this.trusted.delete(hashText);
      return;
    }
    this.valid.set(hashText, apiKey);
    this.trusted.set(hashText, true);
    this.lastUsed.saw(apiKey);
  }

  /** Some key has changed; the listener does not say which. */
  private forget(): void {
    this.valid.clear();
    this.unknown.clear();
    this.lookups.clear();
  }
}
