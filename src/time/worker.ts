import { Logger } from '@nestjs/common';
import { Backoff } from './backoff.js';
import { askInTime } from './deadline.js';

/** How a worker goes on after a run. */
export type Next =
  /** At once: there is more to do. */
  | 'again'
  /** After the next pause of the backoff. No wake ends it: new work does not repair what failed. */
  | 'failed'
  /** When it is woken, and at the latest after this time; `Infinity` for when it is woken alone. */
  | { idleMs: number }
  /** After this time, woken or not: work gathers meanwhile. */
  | { pauseMs: number };

export interface WorkerSettings {
  /** The logger's context. */
  name: string;
  /** `stopping` is aborted when the worker is to stop: a long run ends early then. A run that throws has failed. */
  runOnce: (stopping: AbortSignal) => Promise<Next>;
  backoff: Backoff;
  /** What the log says of a run that threw, before the reason. */
  failure?: string;
  /** The first run waits this long, or for a wake. */
  firstIdleMs?: number;
  /** How long {@link Worker.stop} waits for the run that is under way. */
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
  /** A wake during a run or a pause counts for what follows it. */
  private woken = false;

  constructor(private readonly settings: WorkerSettings) {
    this.logger = new Logger(settings.name);
  }

  /** A worker that runs at this interval, after a run that failed too, and for the first time after one interval. */
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

  /** Started or stopped before, it stays as it is. */
  start(): void {
    this.running ??= this.run();
  }

  /** Run now, or once more after the run that is under way. Cheap: it only ends a pause. */
  wake(): void {
    this.woken = true;
    if (this.pausing?.isIdle === true) this.pausing.end();
  }

  /** Whether a wake would start a run at once. */
  get isIdle(): boolean {
    return this.pausing?.isIdle === true && !this.woken;
  }

  /** Begins no more runs. Resolves when none is under way any more, or when the limit is reached. */
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
    // A timer takes no Infinity: it would end at once.
    const timer = Number.isFinite(ms) ? setTimeout(ended.resolve, ms) : undefined;
    this.pausing = { isIdle, end: ended.resolve };
    await ended.promise;
    clearTimeout(timer);
    this.pausing = undefined;
  }
}
