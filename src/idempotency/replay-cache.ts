import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import type { StoredAnswer } from './claims.store.js';
import { identityOf, type ScopedKey } from './scoped-key.js';

const MAX_ANSWERS = 50_000;
const MAX_BYTES = 64 * 1024 * 1024;
/** The size of an entry apart from its body: key, fingerprint, location and the map itself. */
const ENTRY_OVERHEAD_BYTES = 512;

/** The upper limit: a pure Latin-1 string takes half. */
const BYTES_A_CHARACTER = 2;

interface CachedAnswer {
  fingerprint: string;
  answer: StoredAnswer;
  expiresAtMs: number;
}

/**
 * Completed answers in memory. They never change, so entries need no invalidation: each ends with the lifetime of the
 * answer that it copies.
 */
@Injectable()
export class ReplayCache {
  private readonly answers = new LRUCache<string, CachedAnswer>({
    max: MAX_ANSWERS,
    maxSize: MAX_BYTES,
    sizeCalculation: ({ answer }) => answer.body.length * BYTES_A_CHARACTER + ENTRY_OVERHEAD_BYTES,
  });

  get(key: ScopedKey, nowMs: number): CachedAnswer | undefined {
    const cached = this.answers.get(identityOf(key));
    return cached !== undefined && cached.expiresAtMs > nowMs ? cached : undefined;
  }

  put(key: ScopedKey, cached: CachedAnswer): void {
    this.answers.set(identityOf(key), cached);
  }
}
