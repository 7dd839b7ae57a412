import { Inject, Injectable, Logger } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';
import type { Claim } from './claims.store.js';
import type { ScopedKey } from './scoped-key.js';
import { OpenClaimsStore } from './open-claims.store.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { Metrics } from '../metrics/metrics.js';
import { Clock } from '../time/clock.js';
import { OperationExecutor } from './operation.executor.js';
import { OperationRegistry } from './operation.registry.js';

/** How many claims are taken over at once: few enough that each is called well within its lease. */
export const MAX_RESUMED = 20;

/** Continues claims whose owner died or whose outcome is still open. */
@Injectable()
export class OperationResumer {
  private readonly logger = new Logger(OperationResumer.name);

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly openClaims: OpenClaimsStore,
    private readonly operations: OperationRegistry,
    private readonly executor: OperationExecutor,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
  ) {}

  /**
   * Takes over up to {@link MAX_RESUMED} due claims of operations that it knows, continues each, and returns how many
   * there were.
   */
  async resumeExpired(): Promise<number> {
    const leasedAtMs = this.clock.monotonicMs();
    const claims = await this.openClaims.takeExpired(
      this.operations.names(),
      this.config.idempotencyLeaseMs,
      MAX_RESUMED,
    );
    await Promise.all(claims.map((claim) => this.resume(claim, leasedAtMs)));
    return claims.length;
  }

  /**
   * The same for these claims alone, at once and without their pause. A claim that is being worked on is left alone.
   * @param keys at most {@link MAX_RESUMED}
   */
  async resumeNow(keys: readonly ScopedKey[]): Promise<void> {
    if (keys.length > MAX_RESUMED) throw new RangeError(`more than ${MAX_RESUMED} claims at once`);
    const leasedAtMs = this.clock.monotonicMs();
    const claims = await this.openClaims.takeIdle(
      this.operations.names(),
      keys,
      this.config.idempotencyLeaseMs,
    );
    await Promise.all(claims.map((claim) => this.resume(claim, leasedAtMs)));
  }

  private async resume(claim: Claim, leasedAtMs: number): Promise<void> {
    this.metrics.claimTakenOver('recovery');
    const requestId = uuidv7();
    try {
      const operation = this.operations.get(claim.operation);
      if (operation === undefined) throw new Error(`there is no operation ${claim.operation}`);
      const next = await operation.resume(claim, requestId);
      const answer = await this.executor.execute(operation, { claim, leasedAtMs }, next);
      this.logger.log(`recovered claim ${claim.claimId}, attempt ${claim.attempt}: answer ${answer.status}`);
    } catch (error) {
      // Whatever the error is, the lease runs out again and the next run tries again.
      const reason = error instanceof RefusedError ? error.refusal.code : String(error);
      this.logger.warn(`could not recover claim ${claim.claimId}, attempt ${claim.attempt}: ${reason}`);
    }
  }
}
