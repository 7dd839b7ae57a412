import {
  Inject,
  Injectable,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { workAtLeisure, type DutyCycle } from '../time/duty-cycle.js';
import { Worker } from '../time/worker.js';
import { DerivedKeysStore } from './derived-keys.store.js';
import { ExpiredAnswersStore } from './expired-answers.store.js';

/** A batch is one short transaction of a few milliseconds. Larger ones cost less, but charges wait for them. */
const BATCH_SIZE = 200;
/**
 * Answers expire as fast as they were once given, so this must be enough for the rate of the busiest hour, and no more:
 * charges get the rest. `npm run bench -- --expiry` measures both.
 */
const DUTY_CYCLE: DutyCycle = { share: 0.2, longestRestMs: 1_000 };
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
    private readonly answers: ExpiredAnswersStore,
    private readonly derivedKeys: DerivedKeysStore,
  ) {
    const intervalMs = config.idempotencyRetentionMs / RUNS_A_LIFETIME;
    this.worker = Worker.every(
      RetentionWorker.name,
      Math.min(Math.max(intervalMs, MIN_INTERVAL_MS), MAX_INTERVAL_MS),
      (stopping) => this.runOnce(stopping),
    );
  }

  onApplicationBootstrap(): void {
    this.worker.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.worker.stop();
  }

  /** Deletes in batches until nothing is due, and rests in between. */
  async runOnce(stopping?: AbortSignal): Promise<void> {
    await workAtLeisure(
      DUTY_CYCLE,
      async () => (await this.derivedKeys.reap(BATCH_SIZE)) === BATCH_SIZE,
      stopping,
    );
    // Each run begins with the oldest again, because a batch skips rows that are locked.
    let from: Date | null = null;
    const reap = async (): Promise<boolean> => {
      const { count, through } = await this.answers.reap(BATCH_SIZE, from);
      from = through ?? from;
      return count === BATCH_SIZE;
    };
    await workAtLeisure(DUTY_CYCLE, reap, stopping);
  }
}
