import { Inject, Injectable, Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONFIG, type Config } from '../config/config.js';
import { isContention, isDatabaseUnavailable } from '../database/database-errors.js';
import { OverloadedError } from '../database/group-commit.js';
import { CommitUnknownError } from '../database/pipelined-transactions.js';
import { RefusedError } from '../domain/errors.js';
import type { Outcome } from '../domain/outcome.js';
import { ClaimsStore, type Claim } from './claims.store.js';
import { DueClaims } from './due-claims.js';
import { ReplayCache } from './replay-cache.js';
import { Clock } from '../time/clock.js';
import type { Answer, NextStep, Operation, Settlement } from './operation.js';
import { SettlementWriter } from './settlement.writer.js';

/** A gateway that ignores its signal gets this long before we stop listening to it. */
const ABORT_GRACE_MS = 250;
/** How long an outcome that we know waits for a database that is down, before its client is told to ask again. */
const SETTLE_PATIENCE_MS = 5_000;
const SETTLE_RETRY_MS = 100;
export const RETRY_AFTER_SECONDS = 1;
/**
 * What a lost owner may not have sent is sent again, for as many attempts. A gateway that is down refuses it for a while, and
 * one that refuses it for good would for ever: then it is asked what became of it, which has an answer in the end.
 */
const MAX_ATTEMPTS_SENT = 6;

/** The gateway has no trace of the call and will refuse it should it still arrive: a final no, and nobody's fault. */
const NOT_PROCESSED: Outcome = {
  kind: 'declined',
  failure: { code: 'not_processed', message: 'The payment provider never processed this request.' },
};

/** Who runs a claim, for how long. */
export interface Execution {
  claim: Claim;
  requestId: string;
  /** When the lease began at the latest, on this process's monotonic clock. */
  leasedAtMs: number;
}

/** Carries a claim from its reservation to its answer: call, then settle. The claim must be ours. */
@Injectable()
export class OperationExecutor {
  private readonly logger = new Logger(OperationExecutor.name);

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly settlements: SettlementWriter,
    private readonly claims: ClaimsStore,
    private readonly cache: ReplayCache,
    private readonly clock: Clock,
    private readonly dueClaims: DueClaims,
  ) {}

  /** @throws RefusedError where the outcome is no answer to store. */
  async execute<Work>(
    operation: Operation<never, Work>,
    execution: Execution,
    next: NextStep<Work>,
  ): Promise<Answer> {
    const { claim, requestId } = execution;
    if (next.step === 'settle') return this.settle(execution, next.settlement);
    if (next.step === 'release') return this.giveBack(operation, claim);
    const outcome = await this.outcome(operation, execution, next.work);
    switch (outcome.kind) {
      case 'approved':
      case 'declined':
        return this.settle(execution, operation.settle(claim, next.work, outcome, requestId));
      case 'unavailable':
        // An earlier try may have had its effect before its owner was lost: "no effect" said to this one is no news.
        return claim.resumed
          ? this.postpone(operation, claim, next.work, isToBeAsked(claim))
          : this.giveBack(operation, claim);
      case 'unknown':
        return this.postpone(operation, claim, next.work, true);
    }
  }

  /**
   * A call whose outcome is unknown is not sent again: the gateway is asked what became of it. One that may never have
   * been sent, because its owner was lost, is sent, under the same key.
   */
  private async outcome<Work>(
    operation: Operation<never, Work>,
    execution: Execution,
    work: Work,
  ): Promise<Outcome> {
    const { unknownSince } = execution.claim;
    if (unknownSince === null) {
      return this.inTime(execution, (signal) => operation.call(work, signal));
    }
    return this.inTime(execution, async (signal) => {
      const finding = await operation.find(work, unknownSince, signal);
      return finding.kind === 'absent' ? NOT_PROCESSED : finding;
    });
  }

  private async postpone<Work>(
    operation: Operation<never, Work>,
    claim: Claim,
    work: Work,
    unknown: boolean,
  ): Promise<Answer> {
    const due = await this.settlements
      .postpone(claim, unknown, operation.pendingEvent?.(work))
      .catch((error: unknown) => {
        this.warn('could not end a lease', error);
        return false;
      });
    if (due) this.dueClaims.announce();
    return { ...operation.pendingAnswer(work), replayed: false };
  }

  /** The gateway's answer, or `unknown` when its time is up: the money may have moved. */
  private async inTime(
    { leasedAtMs }: Execution,
    ask: (signal: AbortSignal) => Promise<Outcome>,
  ): Promise<Outcome> {
    const leaseLeftMs = leasedAtMs + this.config.idempotencyLeaseMs - this.clock.monotonicMs();
    const reserveForSettlingMs = this.config.idempotencyLeaseMs - this.config.gatewayTimeoutMs;
    const timeLimitMs = Math.min(this.config.gatewayTimeoutMs, leaseLeftMs - reserveForSettlingMs / 2);
    // A process that was paused past its lease finds out here: somebody else may be calling already.
    if (timeLimitMs <= 0) return { kind: 'unavailable' };
    const deadline = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<Outcome>((resolve) => {
      timer = setTimeout(() => {
        deadline.abort();
        timer = setTimeout(() => resolve({ kind: 'unknown' }), ABORT_GRACE_MS);
      }, timeLimitMs);
    });
    try {
      return await Promise.race([ask(deadline.signal), silence]);
    } catch (error) {
      this.logger.error(
        'a gateway call threw; its outcome counts as unknown',
        error instanceof Error ? error.stack : error,
      );
      return { kind: 'unknown' };
    } finally {
      clearTimeout(timer);
    }
  }

  private async settle({ claim }: Execution, settlement: Settlement): Promise<Answer> {
    const giveUpAtMs = this.clock.monotonicMs() + SETTLE_PATIENCE_MS;
    for (;;) {
      try {
        if (!(await this.settlements.settle(settlement))) return await this.answerOfAnother(claim);
        this.remember(settlement);
        return { ...settlement.answer, replayed: settlement.replayed };
      } catch (error) {
        if (!isTransient(error)) throw error;
        if (this.clock.monotonicMs() >= giveUpAtMs) throw outcomeUnknown(error);
        await sleep(SETTLE_RETRY_MS);
      }
    }
  }

  /** Our write was fenced out, or an earlier try of it had been committed: the stored answer is the answer. */
  private async answerOfAnother(claim: Claim): Promise<Answer> {
    const [state] = await this.claims.find([claim]);
    if (state?.answer && state.claimId === claim.claimId) {
      return { ...state.answer, replayed: state.attempt !== claim.attempt };
    }
    throw new RefusedError({ code: 'idempotency_key_in_progress', retryAfterSeconds: RETRY_AFTER_SECONDS });
  }

  private async giveBack(operation: Operation<never, unknown>, claim: Claim): Promise<Answer> {
    let released: boolean;
    try {
      released = await this.settlements.release(operation, claim);
    } catch (error) {
      // The lease runs out instead, and recovery tries the charge: the client must not hear "no effect".
      this.warn('could not release a claim', error);
      throw outcomeUnknown(error);
    }
    if (!released) return this.answerOfAnother(claim);
    throw new RefusedError({ code: 'service_unavailable', retryAfterSeconds: RETRY_AFTER_SECONDS });
  }

  private remember({ claim, answer }: Settlement): void {
    const expiresAtMs = this.clock.now().getTime() + (claim.lifetimeMs ?? this.config.idempotencyRetentionMs);
    this.cache.put(claim, { fingerprint: claim.fingerprint, answer, expiresAtMs });
  }

  private warn(message: string, error: unknown): void {
    this.logger.warn(`${message}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Whether the next attempt asks what became of the call, rather than sending it. Once it asks, it always does. */
function isToBeAsked({ unknownSince, attempt }: Claim): boolean {
  return unknownSince !== null || attempt >= MAX_ATTEMPTS_SENT;
}

/** Errors after which the same write may succeed later. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof CommitUnknownError ||
    error instanceof OverloadedError ||
    isDatabaseUnavailable(error) ||
    isContention(error)
  );
}

export function outcomeUnknown(cause: unknown): RefusedError {
  return new RefusedError({ code: 'outcome_unknown', retryAfterSeconds: RETRY_AFTER_SECONDS }, { cause });
}
