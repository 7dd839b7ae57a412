import { Logger } from '@nestjs/common';
import { Backoff } from './backoff.js';
import { askInTime } from './deadline.js';

/** What a worker does after a run. */
export type Next =
  /** Run at once, because there is more to do. */
  | 'again'
  /** Run after the backoff's next pause. A wake does not end it, because new work does not repair what failed. */
  | 'failed'
  /** Run when woken, or at the latest after this time. With `Infinity`, run only when woken. */
  | { idleMs: number }
  /** Run after this time, woken or not, so that work gathers meanwhile. */
  | { pauseMs: number };

export interface WorkerSettings {
  /** The logger's context. */
  name: string;
  /** `stopping` is aborted when the worker stops, so that a long run can end early. A run that throws has failed. */
  runOnce: (stopping: AbortSignal) => Promise<Next>;
  backoff: Backoff;
  /** What the log says before the reason when a run throws. */
  failure?: string;
  /** The first run waits this long, or for a wake. */
  firstIdleMs?: number;
  /** How long {@link Worker.stop} waits for the current run. */
  stopLimitMs?: number;
}

interface Pause {
  ms: number;
  /** Whether a wake ends it. */
  isIdle: boolean;
}

/** Runs `runOnce` again and again, never twice at once, until stopped. */
export class Worker {
  private readonly logger: Logger;
  private readonly stopping = new AbortController();
  private running: Promise<void> | undefined;
  private pausing: { isIdle: boolean; end: () => void } | undefined;
  /** Remembers a wake that came during a run or a pause, for the next step. */
  private woken = false;

  constructor(private readonly settings: WorkerSettings) {
    this.logger = new Logger(settings.name);
  }

  /** A worker that runs at this interval, even after a failed run. Its first run comes after one interval. */
  static every(
    name: string,
    intervalMs: number,
    runOnce: (stopping: AbortSignal) => Promise<unknown>,
  ): Worker {
    return new Worker({
      name,
      firstIdleMs: intervalMs,
      backoff: new Backoff({ firstMs: intervalMs, longestMs: intervalMs }),
      async runOnce(stopping) {
        await runOnce(stopping);
        return { idleMs: intervalMs };
      },
    });
  }

  /** Does nothing if the worker is already started or stopped. */
  start(): void {
    this.running ??= this.run();
  }

  /** Run now, or once more after the current run. Cheap: it only ends a pause. */
  wake(): void {
    this.woken = true;
    if (this.pausing?.isIdle === true) this.pausing.end();
  }

  /** Whether a wake would start a run at once. */
  get isIdle(): boolean {
    return this.pausing?.isIdle === true && !this.woken;
  }

  /** Starts no more runs. Resolves when the current run has ended, or when the limit is reached. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.pausing?.end();
    const { running } = this;
    const { stopLimitMs } = this.settings;
    if (running === undefined || stopLimitMs === undefined) await running;
    else await askInTime(() => running, { limitMs: stopLimitMs });
  }

  private async run(): Promise<void> {
    const { firstIdleMs } = this.settings;
    if (firstIdleMs !== undefined) await this.pause({ ms: firstIdleMs, isIdle: true });
    while (!this.stopping.signal.aborted) {
      this.woken = false;
      const pause = await this.runOnce();
      if (pause !== null) await this.pause(pause);
    }
  }

  private async runOnce(): Promise<Pause | null> {
    const { runOnce, backoff } = this.settings;
    try {
      const next = await runOnce(this.stopping.signal);
      if (next === 'failed') return { ms: backoff.nextMs(), isIdle: false };
      backoff.reset();
      if (next === 'again') return null;
      return 'idleMs' in next ? { ms: next.idleMs, isIdle: true } : { ms: next.pauseMs, isIdle: false };
    } catch (error) {
      const ms = backoff.nextMs();
      const { failure = `will try again in ${ms} ms` } = this.settings;
      this.logger.warn(`${failure}: ${String(error)}`);
      return { ms, isIdle: false };
    }
  }

  private async pause({ ms, isIdle }: Pause): Promise<void> {
    if (this.stopping.signal.aborted || (isIdle && this.woken)) return;
    const ended = Promise.withResolvers<void>();
    // A timer with Infinity would fire at once.
    const timer = Number.isFinite(ms) ? setTimeout(ended.resolve, ms) : undefined;
    this.pausing = { isIdle, end: ended.resolve };
    await ended.promise;
    clearTimeout(timer);
    this.pausing = undefined;
  }
}
