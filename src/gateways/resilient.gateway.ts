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
import type { Finding, LostTail, Outcome } from '../domain/outcome.js';
import {
  Gateway,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type GatewayCallKind,
  type RefundRequest,
  type SentCall,
} from './gateway.js';
import type { AskedKind, BreakerState, GatewayMetrics } from './gateway-metrics.js';

export interface ResilienceSettings {
  /** Time limit of all tries together. The operation's own deadline is never longer. */
  timeoutMs: number;
  /** Time limit of one try. */
  tryTimeoutMs: number;
  /** Tries of one call, including the first. */
  maxTries: number;
  /** Calls in flight at once. */
  maxConcurrent: number;
}

/** How long we still listen to a gateway that ignores its signal. Less than the executor's grace. */
const ABORT_GRACE_MS = 150;
/** A try that has less time than this would hardly succeed. */
const MIN_TRY_MS = 50;

/** Waits between tries: decorrelated jitter, cockatiel's default. */
const BACKOFF = new ExponentialBackoff({ initialDelay: 100, maxDelay: 2_000 });

/** The breaker opens when more than this share of the recent calls failed, … */
const BREAKER_THRESHOLD = 0.5;
/** … within this window, … */
const BREAKER_WINDOW_MS = 10_000;
/** … unless there were fewer calls than this (20 in the window): a few failures at night prove nothing. */
const BREAKER_MIN_CALLS_PER_SECOND = 2;
/** How long it stays open before one call may probe: about a second at first, longer after each failed probe. */
const BREAKER_OPEN = new ExponentialBackoff({ initialDelay: 1_000, maxDelay: 30_000 });

/** How many calls may queue, as a multiple of those in flight. Their deadlines run while they wait. */
const QUEUE_FACTOR = 4;

const UNAVAILABLE = { kind: 'unavailable' } as const;
const UNKNOWN = { kind: 'unknown' } as const;

type Unanswered = typeof UNAVAILABLE | typeof UNKNOWN;

/** What the gateway is asked, and which of its answers count against its health. */
interface Question<Answer> {
  kind: AskedKind;
  ask: (signal: AbortSignal) => Promise<Answer>;
  isFailed: (outcome: Answer) => boolean;
}

/** The result of one try. `heldBack`: we never sent it. */
interface Try<Answer> {
  outcome: Answer | Unanswered;
  failed: boolean;
  heldBack?: boolean;
}

/**
 * Wraps each gateway in a time limit for every try, retries, a circuit breaker and a bulkhead.
 *
 * The most important rule: of everything that the tries returned, we answer the most cautious. `unavailable` tells the
 * client that nothing happened, so it is the answer only if no try can have had an effect. An open breaker or a full
 * bulkhead therefore answers `unavailable` for a call that was never sent, but not for one with an earlier try still
 * open.
 *
 * We retry `unavailable` (surely no effect) and `unknown` (maybe one). Every try carries the same gateway key, so a
 * provider acts once however many tries arrive, and a later try may even learn what an earlier one did. That is why a
 * final answer after an `unknown` try is the answer. `declined` comes from a healthy gateway and is never retried.
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
   * One try only: an open outcome is inquired about again later anyway. If the gateway cannot be asked, the finding is
   * `unknown`: that the question had no effect says nothing about the call.
   */
  async inquire(call: SentCall, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    const finding = await this.find((trySignal) => this.inner.inquire(call, unknownSince, trySignal), signal);
    return finding.kind === 'unavailable' ? UNKNOWN : finding;
  }

  /** One try only, too. If the gateway cannot be asked, the caller sends nothing and comes back. */
  lookUp(call: SentCall, lost: LostTail, signal: AbortSignal): Promise<Finding> {
    return this.find((trySignal) => this.inner.lookUp(call, lost, trySignal), signal);
  }

  private async find(ask: (signal: AbortSignal) => Promise<Finding>, signal: AbortSignal): Promise<Finding> {
    const startedMs = performance.now();
    // An inner `unknown` is an answer (the provider does not know yet) and no sign of bad health.
    const question: Question<Finding> = {
      kind: 'find',
      ask,
      isFailed: ({ kind }) => kind === 'unavailable',
    };
    const { outcome } = await this.once(question, signal, this.settings.tryTimeoutMs);
    const said = outcome.kind === 'unavailable' ? UNKNOWN.kind : outcome.kind;
    this.metrics.called(this.name, 'find', said, performance.now() - startedMs);
    return outcome;
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
      if (isAnswer(outcome)) return outcome;
      if (outcome.kind === 'unknown') mayHaveActed = true;
      // A try that we held back ourselves would only be held back again.
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

  /** cockatiel drops a queued call past its deadline only when its turn comes. We answer its caller at once. */
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

  /** While one call probes, cockatiel would make the others wait for its result. We reject them at once. */
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
    // Otherwise its deadline passed before it was sent.
    else if (!isTaskCancelledError(error)) throw error;
  }
}

/** What another try would not change: the outcome, or that the gateway has another call under our key. */
function isAnswer(outcome: Outcome): boolean {
  if (outcome.kind === 'unknown') return outcome.keyTaken === true;
  return outcome.kind !== 'unavailable';
}

/** Anything but an answer counts against the gateway's health. */
function isFailure(outcome: Outcome): boolean {
  return !isAnswer(outcome);
}

/** Waits before the next try. Returns false if that try would not have enough time to succeed. */
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
