import {
  Inject,
  Injectable,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { OperationResumer } from '../operations/operation.resumer.js';
import { Periodic } from './periodic.js';

/** How many lost claims one run takes over: few enough that each is called well within its lease. */
const BATCH_SIZE = 20;
const MIN_INTERVAL_MS = 200;
const MAX_INTERVAL_MS = 5_000;
/** A lease that ran out is noticed within this part of a lease. */
const LOOKS_A_LEASE = 6;

/**
 * Finishes what a lost process began. A retry of the client does the same; the worker is for clients that never come
 * back. Any number of processes may run one: each skips the claims that another is taking.
 */
@Injectable()
export class RecoveryWorker implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly schedule: Periodic;

  constructor(
    @Inject(CONFIG) config: Config,
    private readonly resumer: OperationResumer,
  ) {
    const intervalMs = config.idempotencyLeaseMs / LOOKS_A_LEASE;
    this.schedule = new Periodic(
      RecoveryWorker.name,
      Math.min(Math.max(intervalMs, MIN_INTERVAL_MS), MAX_INTERVAL_MS),
      () => this.runOnce(),
    );
  }

  onApplicationBootstrap(): void {
    this.schedule.start();
  }

  beforeApplicationShutdown(): Promise<void> {
    return this.schedule.stop();
  }

  /** Takes over the claims whose lease has run out, carries each to its end, and returns how many it took. */
  runOnce(): Promise<number> {
    return this.resumer.resumeExpired(BATCH_SIZE);
  }
}
