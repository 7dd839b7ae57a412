import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import type { Scope } from '../auth/scopes.js';
import type { StoredAnswer } from './claims.store.js';
import { identityOf, type ScopedKey } from './scoped-key.js';

const MAX_ANSWERS = 50_000;
const MAX_BYTES = 64 * 1024 * 1024;
/** The size of an entry apart from its body: key, fingerprint, location, the request's digest and the map itself. */
const ENTRY_OVERHEAD_BYTES = 640;

/** The upper limit: a pure Latin-1 string takes half. */
const BYTES_A_CHARACTER = 2;

/** A request that got a stored answer, so that the same bytes can get it again without being parsed. */
export interface AnsweredRequest {
  /** Over everything that decides what is asked for. */
  digest: string;
  /** What its API key must be allowed to do. */
  neededScopes: readonly Scope[];
}

interface CachedAnswer {
  fingerprint: string;
  answer: StoredAnswer;
  expiresAtMs: number;
  /** The last request that got this answer. */
  request?: AnsweredRequest;
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

  /** Remembers which request got an answer. No effect if this is not the answer that is cached, such as a 202. */
  answered(key: ScopedKey, { status, body }: StoredAnswer, request: AnsweredRequest): void {
    const cached = this.answers.get(identityOf(key));
    if (cached?.answer.body === body && cached.answer.status === status) cached.request = request;
  }
}
