import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import {
  BrokenCircuitError,
  bulkhead,
  circuitBreaker,
  CircuitState,
  ExponentialBackoff,
  handleWhenResult,
  isBrokenCircuitError,
  isBulkheadRejectedError,
  isTaskCancelledError,
  SamplingBreaker,
  TaskCancelledError,
  type IBackoff,
} from 'cockatiel';
import { askInTime } from '../time/deadline.js';
import type { Finding, Outcome } from '../domain/outcome.js';
import {
  Gateway,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type GatewayCallKind,
  type GatewayInquiry,
  type RefundRequest,
} from './gateway.js';
import type { AskedKind, BreakerState, GatewayMetrics } from './gateway-metrics.js';

export interface ResilienceSettings {
  /** Time limit of all tries together: what the operation's own deadline is at most. */
  timeoutMs: number;
  /** Time limit of one try. */
  tryTimeoutMs: number;
  /** Tries of one call, the first included. */
  maxTries: number;
  /** Calls in flight at once. */
  maxConcurrent: number;
}

/** A gateway that ignores its signal gets this long before nobody listens to it any more. Less than the executor's. */
const ABORT_GRACE_MS = 150;
/** A try that gets less than this could hardly end well. */
const MIN_TRY_MS = 50;

/** Waits between tries: decorrelated jitter, as cockatiel does it unless told otherwise. */
const BACKOFF = new ExponentialBackoff({ initialDelay: 100, maxDelay: 2_000 });

/** The breaker opens when more than this share of the last calls failed, … */
const BREAKER_THRESHOLD = 0.5;
/** … of those in this time, … */
const BREAKER_WINDOW_MS = 10_000;
/** … unless there were fewer than this a second (20 in the window): a few failures at night say nothing. */
const BREAKER_MIN_CALLS_PER_SECOND = 2;
/** How long it stays open before one call may probe: about a second at first, longer for each probe that fails. */
const BREAKER_OPEN = new ExponentialBackoff({ initialDelay: 1_000, maxDelay: 30_000 });

/** Calls that may wait for one in flight to end, as a multiple of those in flight; their deadlines run meanwhile. */
const QUEUE_FACTOR = 4;

const UNAVAILABLE = { kind: 'unavailable' } as const;
const UNKNOWN = { kind: 'unknown' } as const;

type Unanswered = typeof UNAVAILABLE | typeof UNKNOWN;

/** What the gateway is asked, and which of its answers speak against its health. */
interface Question<Answer> {
  kind: AskedKind;
  ask: (signal: AbortSignal) => Promise<Answer>;
  isFailed: (outcome: Answer) => boolean;
}

/** What one try brought; `heldBack` when we never let it out. */
interface Try<Answer> {
  outcome: Answer | Unanswered;
  failed: boolean;
  heldBack?: boolean;
}

/**
 * Stands between the service and a gateway, one for each: a time limit for every try, retries, a circuit breaker and a
 * bulkhead.
 *
 * The rule above all others: what is answered is the most cautious of what was seen. `unavailable`, which lets the
 * client believe that nothing happened, is answered only when no try at all may have had an effect. So an open breaker
 * or a full bulkhead says `unavailable` for a call that it never let out, and never for one whose earlier try is open.
 *
 * Retried are `unavailable` (surely no effect) and `unknown` (maybe one): every try carries the same idempotency key,
 * so a provider acts once however many arrive, and a later try may even learn what an earlier one did. A final answer
 * after an `unknown` try is therefore the answer. `declined` is a healthy gateway's answer and is never retried.
 */
export class ResilientGateway extends Gateway {
  readonly name: string;
  private readonly logger = new Logger(ResilientGateway.name);
  private readonly breaker = circuitBreaker(
    handleWhenResult((result) => (result as Try<unknown>).failed),
    {
      breaker: new SamplingBreaker({
        threshold: BREAKER_THRESHOLD,
        duration: BREAKER_WINDOW_MS,
        minimumRps: BREAKER_MIN_CALLS_PER_SECOND,
      }),
      halfOpenAfter: BREAKER_OPEN,
    },
  );
  private readonly bulkhead;

  constructor(
    private readonly inner: Gateway,
    private readonly settings: ResilienceSettings,
    private readonly metrics: GatewayMetrics,
  ) {
    super();
    this.name = inner.name;
    const { maxConcurrent } = settings;
    const maxQueued = maxConcurrent * QUEUE_FACTOR;
    this.bulkhead = bulkhead(maxConcurrent, maxQueued);
    this.breaker.onStateChange((state) =>
      this.logger.warn(`the circuit breaker of gateway ${this.name} is ${breakerState(state)}`),
    );
    metrics.watch(this.name, () => ({
      breaker: breakerState(this.breaker.state),
      inFlight: maxConcurrent - this.bulkhead.executionSlots,
      queued: maxQueued - this.bulkhead.queueSlots,
    }));
  }

  charge(request: ChargeRequest, signal: AbortSignal): Promise<Outcome> {
    return this.call('charge', (trySignal) => this.inner.charge(request, trySignal), signal);
  }

  capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome> {
    return this.call('capture', (trySignal) => this.inner.capture(request, trySignal), signal);
  }

  cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome> {
    return this.call('cancel', (trySignal) => this.inner.cancel(request, trySignal), signal);
  }

  refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome> {
    return this.call('refund', (trySignal) => this.inner.refund(request, trySignal), signal);
  }

  /**
   * One try: whoever asks for an open outcome asks again later anyway. What cannot be asked is `unknown`: that the
   * question had no effect says nothing about the call that it is about.
   */
  async inquire(inquiry: GatewayInquiry, signal: AbortSignal): Promise<Finding> {
    const startedMs = performance.now();
    // An inner `unknown` is an answer (the provider cannot tell yet) and no sign of bad health.
    const question: Question<Finding> = {
      kind: 'find',
      ask: (trySignal) => this.inner.inquire(inquiry, trySignal),
      isFailed: ({ kind }) => kind === 'unavailable',
    };
    const { outcome } = await this.once(question, signal, this.settings.tryTimeoutMs);
    const finding = outcome.kind === 'unavailable' ? UNKNOWN : outcome;
    this.metrics.called(this.name, 'find', finding.kind, performance.now() - startedMs);
    return finding;
  }

  private async call(
    kind: GatewayCallKind,
    ask: (signal: AbortSignal) => Promise<Outcome>,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const startedMs = performance.now();
    const question = { kind, ask, isFailed: isFailure };
    const outcome = await this.untilAnswered(question, signal, startedMs + this.settings.timeoutMs);
    this.metrics.called(this.name, kind, outcome.kind, performance.now() - startedMs);
    return outcome;
  }

  private async untilAnswered(
    question: Question<Outcome>,
    signal: AbortSignal,
    deadlineMs: number,
  ): Promise<Outcome> {
    const { tryTimeoutMs, maxTries } = this.settings;
    let mayHaveActed = false;
    let backoff: IBackoff<unknown> | undefined;
    for (let tries = 1; ; tries += 1) {
      const limitMs = Math.min(tryTimeoutMs, deadlineMs - performance.now());
      const { outcome, heldBack } = await this.once(question, signal, limitMs);
      if (outcome.kind === 'approved' || outcome.kind === 'declined') return outcome;
      if (outcome.kind === 'unknown') mayHaveActed = true;
      // What we hold back ourselves would only be held back again.
      if (heldBack === true || tries >= maxTries) break;
      backoff = backoff === undefined ? BACKOFF.next() : backoff.next(undefined);
      if (!(await waitFor(backoff.duration, signal, deadlineMs))) break;
      this.metrics.retried(this.name, question.kind);
    }
    return mayHaveActed ? UNKNOWN : UNAVAILABLE;
  }

  /** One try, through the bulkhead and the breaker. */
  private async once<Answer extends Finding>(
    question: Question<Answer>,
    signal: AbortSignal,
    limitMs: number,
  ): Promise<Try<Answer>> {
    try {
      return await this.throughBulkhead(() => this.throughBreaker(question, signal, limitMs), signal);
    } catch (error) {
      this.countHeldBack(error);
      return { outcome: UNAVAILABLE, failed: false, heldBack: true };
    }
  }

  /** cockatiel notices that a queued call's deadline has passed only when its turn comes; its caller hears at once. */
  private throughBulkhead<Result>(run: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    if (signal.aborted) return Promise.reject(new TaskCancelledError());
    if (this.bulkhead.executionSlots > 0) return this.bulkhead.execute(run);
    let started = false;
    const queued = this.bulkhead.execute(() => {
      started = true;
      return run();
    }, signal);
    const tooLate = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => !started && reject(new TaskCancelledError()), { once: true });
    });
    return Promise.race([queued, tooLate]);
  }

  /** While one call probes, cockatiel would let the others wait for what it finds; they had better hear at once. */
  private throughBreaker<Answer>(
    question: Question<Answer>,
    signal: AbortSignal,
    limitMs: number,
  ): Promise<Try<Answer>> {
    if (this.breaker.state === CircuitState.HalfOpen) return Promise.reject(new BrokenCircuitError());
    return this.breaker.execute(() => this.limited(question, signal, limitMs));
  }

  /** Asks, and stops listening soon after the try's time or the operation's is up. */
  private async limited<Answer>(
    { kind, ask, isFailed }: Question<Answer>,
    deadline: AbortSignal,
    limitMs: number,
  ): Promise<Try<Answer>> {
    const ended = await askInTime(ask, { limitMs, graceMs: ABORT_GRACE_MS, signal: deadline });
    switch (ended.kind) {
      case 'answered':
        return { outcome: ended.answer, failed: isFailed(ended.answer) };
      case 'threw':
        this.logger.error(
          `gateway ${this.name} threw at a ${kind}; its outcome counts as unknown`,
          ended.error instanceof Error ? ended.error.stack : ended.error,
        );
        return { outcome: UNKNOWN, failed: true };
      case 'late':
        return { outcome: UNKNOWN, failed: true };
    }
  }

  private countHeldBack(error: unknown): void {
    if (isBrokenCircuitError(error)) this.metrics.rejected(this.name, 'breaker');
    else if (isBulkheadRejectedError(error)) this.metrics.rejected(this.name, 'bulkhead');
    // Otherwise its deadline passed before it could leave.
    else if (!isTaskCancelledError(error)) throw error;
  }
}

/** Anything but a final answer speaks against the gateway's health. */
function isFailure({ kind }: Outcome): boolean {
  return kind === 'unavailable' || kind === 'unknown';
}

/** Waits before another try. False when that try would not have the time to end well. */
async function waitFor(delayMs: number, signal: AbortSignal, deadlineMs: number): Promise<boolean> {
  if (signal.aborted || performance.now() + delayMs + MIN_TRY_MS > deadlineMs) return false;
  try {
    await sleep(delayMs, undefined, { signal });
    return true;
  } catch {
    return false;
  }
}

function breakerState(state: CircuitState): BreakerState {
  switch (state) {
    case CircuitState.Closed:
      return 'closed';
    case CircuitState.HalfOpen:
      return 'half_open';
    case CircuitState.Open:
    case CircuitState.Isolated:
      return 'open';
  }
}
