import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Worker } from '../time/worker.js';
import { type ApiKey, ApiKeysStore } from './api-keys.store.js';

/** All processes together write a key's last use at most this often. */
const WRITE_INTERVAL_MS = 60_000;
/** A little longer than the write interval, so that a process's own last write does not block its next. */
const FLUSH_INTERVAL_MS = 65_000;

/**
 * Remembers when keys were used, and writes it for all of them in one statement about once a minute, and at shutdown.
 * So no request ever writes `last_used_at`. It is about two minutes old at worst; a killed process loses what it has
 * not written.
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
    // Only people read this time, so failing to write it is no reason to fail a shutdown.
    await this.flush().catch(() => undefined);
  }

  saw({ apiKeyId, seenAt }: ApiKey): void {
    this.uses.set(apiKeyId, seenAt);
  }

  /** Writes the uses since the last flush. If that fails, it keeps them for the next one. */
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
