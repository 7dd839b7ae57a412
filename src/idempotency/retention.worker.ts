import {
  Inject,
  Injectable,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { Worker } from '../time/worker.js';
import { ClaimsStore } from './claims.store.js';
import { DerivedKeysStore } from './derived-keys.store.js';

/** A batch is one short transaction, so charges never wait for a large delete. */
const BATCH_SIZE = 1_000;
const MIN_INTERVAL_MS = 500;
const MAX_INTERVAL_MS = 60_000;
/** A stored answer outlives its lifetime by at most this fraction of it. */
const RUNS_A_LIFETIME = 10;

/**
 * Deletes stored answers when their lifetime is over. The key stays taken: what it created carries it for ever, and
 * answers a duplicate with its current state.
 */
@Injectable()
export class RetentionWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly worker: Worker;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly claims: ClaimsStore,
    private readonly derivedKeys: DerivedKeysStore,
  ) {
    const intervalMs = config.idempotencyRetentionMs / RUNS_A_LIFETIME;
    this.worker = Worker.every(
      RetentionWorker.name,
      Math.min(Math.max(intervalMs, MIN_INTERVAL_MS), MAX_INTERVAL_MS),
      () => this.runOnce(),
    );
  }

  onApplicationBootstrap(): void {
    this.worker.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.worker.stop();
  }

  /** Reaps in batches until nothing is due, and returns how many answers it deleted. */
  async runOnce(): Promise<number> {
    await untilNothingIsDue(() => this.derivedKeys.reap(BATCH_SIZE));
    return untilNothingIsDue(() => this.claims.reap(BATCH_SIZE));
  }
}

async function untilNothingIsDue(reap: () => Promise<number>): Promise<number> {
  for (let reaped = 0; ;) {
    const batch = await reap();
    reaped += batch;
    if (batch < BATCH_SIZE) return reaped;
  }
}
