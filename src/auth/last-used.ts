import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Worker } from '../time/worker.js';
import { type ApiKey, ApiKeysStore } from './api-keys.store.js';

/** A key in constant use is written at most this often, by all processes together. */
const WRITE_INTERVAL_MS = 60_000;
/** A little longer, so that a process does not meet its own last write. */
const FLUSH_INTERVAL_MS = 65_000;

/**
 * Remembers when keys were used, and writes it down for all of them in one statement a minute, and at shutdown. So
 * `last_used_at` is about two minutes old at worst, less what a process that is killed takes with it, and no request
 * ever writes it.
 */
@Injectable()
export class LastUsed implements OnApplicationBootstrap, OnModuleDestroy {
  private uses = new Map<string, Date>();
  private readonly worker = Worker.every(LastUsed.name, FLUSH_INTERVAL_MS, () => this.flush());

  constructor(private readonly apiKeys: ApiKeysStore) {}

  onApplicationBootstrap(): void {
    this.worker.start();
  }

  async onModuleDestroy(): Promise<void> {
    await this.worker.stop();
    // It is no reason to fail a shutdown: the time is for people to look at.
    await this.flush().catch(() => undefined);
  }

  saw({ apiKeyId, seenAt }: ApiKey): void {
    this.uses.set(apiKeyId, seenAt);
  }

  /** Writes what was seen since the last time. What cannot be written is kept for the next. */
  async flush(): Promise<void> {
    if (this.uses.size === 0) return;
    const uses = this.uses;
    this.uses = new Map();
    try {
      await this.apiKeys.updateLastUsed(
        [...uses].map(([apiKeyId, usedAt]) => ({ apiKeyId, usedAt })).toSorted(byKey),
        WRITE_INTERVAL_MS,
      );
    } catch (error) {
      this.uses = new Map([...uses, ...this.uses]);
      throw error;
    }
  }
}

function byKey(a: { apiKeyId: string }, b: { apiKeyId: string }): number {
  return a.apiKeyId < b.apiKeyId ? -1 : 1;
}
