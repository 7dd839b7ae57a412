import { Inject, Injectable, Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONFIG, type Config } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';
import type { Finding, Outcome } from '../domain/outcome.js';
import { Clock } from '../time/clock.js';
import { askInTime, type Ended } from '../time/deadline.js';
import { ClaimsStore, type Claim, type StoredAnswer } from './claims.store.js';
import { DueClaims } from './due-claims.js';
import type { PostponeReason } from './open-claims.store.js';
import type { Answer, AnyOperation, Composition, GatewayCall, NextStep } from './operation.js';
import { ReplayCache } from './replay-cache.js';
import { isTransient, outcomeUnknown, RETRY_AFTER_SECONDS, serviceUnavailable } from './retryable.js';
import type { Settlement, Write } from './settlement.js';
import { SettlementWriter } from './settlement.writer.js';

/** A gateway that ignores its abort signal gets this long before we stop waiting for it. */
const ABORT_GRACE_MS = 250;
/**
 * How long we keep trying to write a known outcome while the database is down, before we answer the client "ask again".
 */
const SETTLE_PATIENCE_MS = 5_000;
const SETTLE_RETRY_MS = 100;
/**
 * If the owner died before we know it called, resend under the same gateway key, up to six attempts; then only inquire.
 * A gateway that is down refuses for a while. But one that refuses this call for good would do so for ever, and only an
 * inquiry ends that.
 */
const MAX_ATTEMPTS_SENT = 6;

/**
 * The gateway has no trace of the call and will refuse it if it still arrives: a final no, and neither the card nor the
 * client is to blame.
 */
const NOT_PROCESSED: Outcome = {
  kind: 'declined',
  failure: { code: 'not_processed', message: 'The payment provider never processed this request.' },
};

/** A claim that this process runs, and the start of its lease. */
interface Execution {
  claim: Claim;
  /** The latest time at which the lease can have begun, on this process's monotonic clock. */
  leasedAtMs: number;
}

/** The gateway's answer, or how the call ended without one. `too late`: there was no time left to call. */
type Asked<Result> = Ended<Result> | { kind: 'too late' };

/** Takes a claim from its reservation to its answer: call, then settle. The claim must be ours. */
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

  /** @throws RefusedError if the outcome is not an answer that we store. */
  execute(operation: AnyOperation, execution: Execution, next: NextStep): Promise<Answer> {
    switch (next.step) {
      case 'settle':
        return this.settle(execution.claim, next.settlement);
      case 'release':
        return this.release(operation, execution.claim);
      case 'call':
        return this.call(operation, execution, next.call);
      case 'compose':
        return this.compose(operation, execution, next.composition);
    }
  }

  private async call(operation: AnyOperation, execution: Execution, call: GatewayCall): Promise<Answer> {
    const { claim } = execution;
    const outcome = await this.outcome(execution, call);
    switch (outcome.kind) {
      case 'approved':
      case 'declined':
        return this.settle(claim, call.conclude(outcome));
      case 'unavailable':
        return this.withoutEffect(operation, claim, call);
      case 'unknown':
        return this.postpone(
          claim,
          outcome.keyTaken === true ? 'key taken' : 'unknown',
          call.pendingAnswer(),
          call.pendingWrites(),
        );
    }
  }

  /** A composite operation makes no call that could be unknown: it ends, or one of its steps is still open. */
  private async compose(
    operation: AnyOperation,
    execution: Execution,
    composition: Composition,
  ): Promise<Answer> {
    const { claim } = execution;
    const isRepeated = claim.unknownSince !== null;
    const asked = await this.inTime(execution, (signal) => composition.carryOn(isRepeated, signal));
    if (asked.kind === 'too late') return this.withoutEffect(operation, claim, composition);
    const settlement = asked.kind === 'answered' ? asked.answer : null;
    if (settlement !== null) return this.settle(claim, settlement);
    return this.postpone(claim, 'unknown', composition.pendingAnswer(), []);
  }

  private async outcome(execution: Execution, call: GatewayCall): Promise<Outcome> {
    const asked = await this.inTime(execution, (signal) => askGateway(execution.claim, call, signal));
    if (asked.kind === 'too late') return { kind: 'unavailable' };
    if (asked.kind !== 'answered') return { kind: 'unknown' };
    if (asked.answer.kind !== 'absent') return asked.answer;
    // The gateway once had another call under this key, so that "absent" can only be a gap in its memory.
    return execution.claim.gatewayKeyTaken ? { kind: 'unknown' } : NOT_PROCESSED;
  }

  /**
   * This attempt surely did nothing. But if an earlier owner died, or the database has forgotten what it sent, an
   * earlier call may have had an effect all the same.
   */
  private withoutEffect(
    operation: AnyOperation,
    claim: Claim,
    open: GatewayCall | Composition,
  ): Promise<Answer> {
    if (!claim.resumed && claim.lostSince === null) return this.release(operation, claim);
    const writes = 'pendingWrites' in open ? open.pendingWrites() : [];
    const reason = isToBeAsked(claim) ? 'unknown' : 'not reached';
    return this.postpone(claim, reason, open.pendingAnswer(), writes);
  }

  private async postpone(
    claim: Claim,
    reason: PostponeReason,
    answer: StoredAnswer,
    writes: readonly Write[],
  ): Promise<Answer> {
    const due = await this.settlements.postpone(claim, reason, writes).catch((error: unknown) => {
      this.warn('could not end a lease', error);
      return false;
    });
    if (due) this.dueClaims.wake();
    return { ...answer, replayed: false };
  }

  /** Limits an attempt's time so that enough of the lease is left to settle. */
  private async inTime<Result>(
    { leasedAtMs }: Execution,
    ask: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Asked<Result>> {
    const leaseLeftMs = leasedAtMs + this.config.idempotencyLeaseMs - this.clock.monotonicMs();
    const keptForSettlingMs = this.config.idempotencyLeaseMs - this.config.gatewayTimeoutMs;
    const timeLimitMs = Math.min(this.config.gatewayTimeoutMs, leaseLeftMs - keptForSettlingMs / 2);
    // A process that was paused past its lease finds out here: another process may be calling already.
    if (timeLimitMs <= 0) return { kind: 'too late' };
    const ended = await askInTime(ask, { limitMs: timeLimitMs, graceMs: ABORT_GRACE_MS });
    if (ended.kind === 'threw') {
      this.logger.error(
        'a gateway call threw; its outcome counts as unknown',
        ended.error instanceof Error ? ended.error.stack : ended.error,
      );
    }
    return ended;
  }

  private async settle(claim: Claim, settlement: Settlement): Promise<Answer> {
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

  /**
   * Our write was fenced out, or an earlier try of it had committed after all. Either way the stored answer is the
   * answer.
   */
  private async answerOfAnother(claim: Claim): Promise<Answer> {
    const [state] = await this.claims.find([claim]);
    if (state?.answer && state.claimId === claim.claimId) {
      return { ...state.answer, replayed: state.attempt !== claim.attempt };
    }
    throw new RefusedError({ code: 'idempotency_key_in_progress', retryAfterSeconds: RETRY_AFTER_SECONDS });
  }

  private async release(operation: AnyOperation, claim: Claim): Promise<Answer> {
    let released: boolean;
    try {
      released = await this.settlements.release(operation, claim);
    } catch (error) {
      // The lease runs out instead, and recovery tries the operation: the client must not hear "no effect".
      this.warn('could not release a claim', error);
      throw outcomeUnknown(error);
    }
    if (!released) return this.answerOfAnother(claim);
    throw serviceUnavailable();
  }

  private remember({ claim, answer }: Settlement): void {
    const expiresAtMs = this.clock.now().getTime() + (claim.lifetimeMs ?? this.config.idempotencyRetentionMs);
    this.cache.put(claim, { fingerprint: claim.fingerprint, answer, expiresAtMs });
  }

  private warn(message: string, error: unknown): void {
    this.logger.warn(`${message}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * If an earlier call's outcome is unknown, inquire instead of calling again. If the owner died and the call may never
 * have been sent, send it under the same gateway key. If the database has lost its tail, it may have forgotten this very
 * call, so look it up first. As long as that cannot be done, nothing is sent.
 */
async function askGateway(claim: Claim, call: GatewayCall, signal: AbortSignal): Promise<Finding> {
  const { unknownSince, lostSince, lostUntil } = claim;
  if (unknownSince !== null) return call.inquire(unknownSince, signal);
  if (lostSince === null || lostUntil === null) return call.send(signal);
  const finding = await call.lookUp({ since: lostSince, until: lostUntil }, signal);
  switch (finding.kind) {
    case 'absent':
      return signal.aborted ? { kind: 'unavailable' } : call.send(signal);
    case 'approved':
    case 'declined':
      return finding;
    case 'unavailable':
      return finding;
    case 'unknown':
      return finding.keyTaken === true ? finding : { kind: 'unavailable' };
  }
}

/** Whether the next attempt inquires instead of sending. Once an attempt has inquired, all later ones do. */
function isToBeAsked({ unknownSince, attempt }: Claim): boolean {
  return unknownSince !== null || attempt >= MAX_ATTEMPTS_SENT;
}
