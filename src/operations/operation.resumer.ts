import { Inject, Injectable, Logger } from '@nestjs/common';
import { CONFIG, type Config } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';
import { ClaimsStore, type Claim, type ScopedKey } from '../idempotency/claims.store.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { Metrics } from '../metrics/metrics.js';
import { Clock } from './clock.js';
import { OperationExecutor } from './operation.executor.js';
import { OperationRegistry } from './operation.registry.js';

/** Carries claims on whose owner was lost, or whose outcome is open. */
@Injectable()
export class OperationResumer {
  private readonly logger = new Logger(OperationResumer.name);

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly claims: ClaimsStore,
    private readonly operations: OperationRegistry,
    private readonly executor: OperationExecutor,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
  ) {}

  /** Takes up to `limit` claims over whose lease has run out, carries each on, and returns how many there were. */
  async resumeExpired(limit: number): Promise<number> {
    const leasedAtMs = this.clock.monotonicMs();
    const claims = await this.claims.takeExpired(this.config.idempotencyLeaseMs, limit);
    await Promise.all(claims.map((claim) => this.resume(claim, leasedAtMs)));
    return claims.length;
  }

  /** Takes one claim over at once, if nobody runs it, and carries it on. */
  async resumeKey(key: ScopedKey): Promise<void> {
    const leasedAtMs = this.clock.monotonicMs();
    const claim = await this.claims.takeExpiredKey(key, this.config.idempotencyLeaseMs);
    if (claim !== undefined) await this.resume(claim, leasedAtMs);
  }

  private async resume(claim: Claim, leasedAtMs: number): Promise<void> {
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
