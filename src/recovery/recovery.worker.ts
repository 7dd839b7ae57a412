import {
  Inject,
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { uuidv7 } from '../ids/uuidv7.js';
import { CONFIG, type Config } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';
import { ClaimsStore, type Claim } from '../idempotency/claims.store.js';
import { Metrics } from '../metrics/metrics.js';
import { Clock } from '../operations/clock.js';
import { OperationExecutor } from '../operations/operation.executor.js';
import { OperationRegistry } from '../operations/operation.registry.js';
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
  private readonly logger = new Logger(RecoveryWorker.name);
  private readonly schedule: Periodic;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly claims: ClaimsStore,
    private readonly operations: OperationRegistry,
    private readonly executor: OperationExecutor,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
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
  async runOnce(): Promise<number> {
    const leasedAtMs = this.clock.monotonicMs();
    const claims = await this.claims.takeExpired(this.config.idempotencyLeaseMs, BATCH_SIZE);
    await Promise.all(claims.map((claim) => this.recover(claim, leasedAtMs)));
    return claims.length;
  }

  private async recover(claim: Claim, leasedAtMs: number): Promise<void> {
    this.metrics.claimTakenOver('recovery');
    const operation = this.operations.find(claim.operation);
    if (operation === undefined) return;
    const requestId = uuidv7();
    try {
      const next = await operation.resume(claim, requestId);
      const answer = await this.executor.execute(operation, { claim, requestId, leasedAtMs }, next);
      this.logger.log(`recovered claim ${claim.claimId}, attempt ${claim.attempt}: answer ${answer.status}`);
    } catch (error) {
      // Whatever it is, the lease runs out again, and the next run tries again.
      const reason = error instanceof RefusedError ? error.refusal.code : String(error);
      this.logger.warn(`could not recover claim ${claim.claimId}, attempt ${claim.attempt}: ${reason}`);
    }
  }
}
