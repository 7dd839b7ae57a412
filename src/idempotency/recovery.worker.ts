import { Inject, Injectable, type OnModuleDestroy, type OnApplicationBootstrap } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { DueClaims } from './due-claims.js';
import { MAX_RESUMED, OperationResumer } from './operation.resumer.js';
import { Backoff } from '../time/backoff.js';
import { Worker, type Next } from '../time/worker.js';

const MIN_INTERVAL_MS = 200;
const MAX_INTERVAL_MS = 5_000;
/** Workers beside the regular one. If more wakes arrive than that, they wait until one of these ends. */
const MAX_EXTRA_RUNS = 4;
/** A lease that ran out is noticed within this fraction of a lease. */
const LOOKS_A_LEASE = 6;

/**
 * Finishes what a lost process began. A client's retry does the same; the worker is for clients that never come back.
 * Any number of processes may run one: each skips the claims that another is taking.
 */
@Injectable()
export class RecoveryWorker implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly rounds: Worker;
  /** A wake must not wait for a round that waits for a slow gateway, so wakes have workers of their own. */
  private readonly extra: readonly Worker[];

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly resumer: OperationResumer,
    private readonly dueClaims: DueClaims,
  ) {
    const intervalMs = Math.min(
      Math.max(config.idempotencyLeaseMs / LOOKS_A_LEASE, MIN_INTERVAL_MS),
      MAX_INTERVAL_MS,
    );
    this.rounds = Worker.every(RecoveryWorker.name, intervalMs, (stopping) => this.runWhileFull(stopping));
    this.extra = Array.from(
      { length: MAX_EXTRA_RUNS },
      () =>
        new Worker({
          name: RecoveryWorker.name,
          firstIdleMs: Infinity,
          runOnce: (stopping) => this.runWhenWoken(stopping),
          backoff: new Backoff({ firstMs: intervalMs, longestMs: intervalMs }),
          failure: 'what is due waits for the next round',
        }),
    );
  }

  onApplicationBootstrap(): void {
    this.rounds.start();
    for (const worker of this.extra) worker.start();
    this.dueClaims.wake = () => this.wake();
  }

  /** Before the relay stops, which hands on what the last round settles. */
  async onModuleDestroy(): Promise<void> {
    await Promise.all([this.rounds, ...this.extra].map((worker) => worker.stop()));
  }

  /** Takes over the claims whose lease ran out, continues each, and returns how many there were. */
  runOnce(): Promise<number> {
    return this.resumer.resumeExpired();
  }

  /**
   * Starts a run at once. If all extra workers are busy, each runs once more: the first to end takes what is due, and
   * the others find nothing.
   */
  wake(): void {
    const idle = this.extra.find((worker) => worker.isIdle);
    for (const worker of idle === undefined ? this.extra : [idle]) worker.wake();
  }

  private async runWhenWoken(stopping: AbortSignal): Promise<Next> {
    await this.runWhileFull(stopping);
    return { idleMs: Infinity };
  }

  /** After a long outage there is more than one run's worth of claims. */
  private async runWhileFull(stopping: AbortSignal): Promise<void> {
    while ((await this.runOnce()) === MAX_RESUMED && !stopping.aborted);
  }
}
