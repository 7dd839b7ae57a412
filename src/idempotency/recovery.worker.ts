import {
  Inject,
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { DueClaims } from './due-claims.js';
import { MAX_RESUMED, OperationResumer } from './operation.resumer.js';
import { Periodic } from '../time/periodic.js';

const MIN_INTERVAL_MS = 200;
const MAX_INTERVAL_MS = 5_000;
/** Runs beside the regular ones; what more of them would take is taken when one of these ends. */
const MAX_EXTRA_RUNS = 4;
/** A lease that ran out is noticed within this part of a lease. */
const LOOKS_A_LEASE = 6;

/**
 * Finishes what a lost process began. A retry of the client does the same; the worker is for clients that never come
 * back. Any number of processes may run one: each skips the claims that another is taking.
 */
@Injectable()
export class RecoveryWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(RecoveryWorker.name);
  private readonly schedule: Periodic;
  private readonly extraRuns = new Set<Promise<void>>();
  private isMoreDue = false;
  private stopped = false;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly resumer: OperationResumer,
    private readonly dueClaims: DueClaims,
  ) {
    const intervalMs = config.idempotencyLeaseMs / LOOKS_A_LEASE;
    this.schedule = new Periodic(
      RecoveryWorker.name,
      Math.min(Math.max(intervalMs, MIN_INTERVAL_MS), MAX_INTERVAL_MS),
      () => this.runWhileFull(),
    );
  }

  onApplicationBootstrap(): void {
    this.schedule.start();
    this.dueClaims.onDue(() => this.runExtra());
  }

  async beforeApplicationShutdown(): Promise<void> {
    this.stopped = true;
    await Promise.all([this.schedule.stop(), ...this.extraRuns]);
  }

  /** Takes over the claims whose lease has run out, carries each to its end, and returns how many it took. */
  runOnce(): Promise<number> {
    return this.resumer.resumeExpired();
  }

  /** A run at once, beside a regular one that may be waiting for a slow gateway. */
  private runExtra(): void {
    if (this.stopped) return;
    if (this.extraRuns.size >= MAX_EXTRA_RUNS) {
      this.isMoreDue = true;
      return;
    }
    const run = this.runWhileFull()
      .catch((error: unknown) => this.warn(error))
      .finally(() => {
        this.extraRuns.delete(run);
        if (this.isMoreDue) {
          this.isMoreDue = false;
          this.runExtra();
        }
      });
    this.extraRuns.add(run);
  }

  /** After a long outage there is more than one run's worth. */
  private async runWhileFull(): Promise<void> {
    while ((await this.runOnce()) === MAX_RESUMED && !this.stopped);
  }

  private warn(error: unknown): void {
    this.logger.warn(`what is due waits for the next round: ${String(error)}`);
  }
}
