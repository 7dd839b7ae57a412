import {
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { Clock } from '../time/clock.js';
import { EventOutboxStore } from './event-outbox.store.js';
import { EventSinks } from './event-sink.js';
import { RelayMetrics } from './relay-metrics.js';
import { SinkRelay, type Run } from './sink-relay.js';

/** How often a sink's rows are looked at when nobody says that there are new ones: another process may have died. */
const POLL_MS = 500;
/** Under load events are gathered for so long, so that a batch costs its two statements and not each event. */
const GATHER_MS = 50;
const FIRST_FAILURE_PAUSE_MS = 500;
const LONGEST_FAILURE_PAUSE_MS = 5_000;
/** What a sink does at a shutdown is not waited for longer: its lease ends by itself. */
const STOP_LIMIT_MS = 2_000;

/**
 * Hands committed events on to every sink, at least once, each payment's in order. Any number of processes may run
 * one: the leases in `event_outbox` share the work out. Each sink has a loop of its own, so a slow one delays no other.
 */
@Injectable()
export class EventRelay implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private loops: readonly SinkLoop[] = [];

  constructor(
    private readonly sinks: EventSinks,
    private readonly outbox: EventOutboxStore,
    private readonly clock: Clock,
    private readonly metrics: RelayMetrics,
  ) {}

  /** The sinks are all registered by now. */
  onApplicationBootstrap(): void {
    const { outbox, clock, metrics } = this;
    this.loops = this.sinks.all().map((sink) => new SinkLoop(new SinkRelay(sink, outbox, clock, metrics)));
    for (const loop of this.loops) loop.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.loops.map((loop) => loop.stop()));
  }

  /**
   * Says that events were committed. Cheap enough for every settlement: it only ends a pause. A NOTIFY would tell the
   * other processes as well, and would put all commits in one line for it.
   */
  kick(): void {
    for (const loop of this.loops) loop.kick();
  }
}

/** Runs one sink's relay again and again, never twice at once. */
class SinkLoop {
  private readonly logger = new Logger(EventRelay.name);
  private running: Promise<void> = Promise.resolve();
  private readonly stopping = new AbortController();
  private kicked = false;
  private endPause: (() => void) | undefined;
  private failuresInARow = 0;

  constructor(private readonly relay: SinkRelay) {}

  start(): void {
    this.running = this.run();
  }

  kick(): void {
    this.kicked = true;
    this.endPause?.();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    this.endPause?.();
    const limit = new AbortController();
    await Promise.race([this.running, sleep(STOP_LIMIT_MS, undefined, { signal: limit.signal }).catch(noop)]);
    limit.abort();
  }

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      this.kicked = false;
      const { handedOn, full, failed } = await this.runOnce();
      this.failuresInARow = failed ? this.failuresInARow + 1 : 0;
      if (failed) await this.pauseAfterFailure();
      else if (handedOn > 0 && !full) await sleep(GATHER_MS);
      else if (!full) await this.pauseUntilKicked();
    }
  }

  private async runOnce(): Promise<Run> {
    try {
      return await this.relay.runOnce();
    } catch (error) {
      // The database, since a sink's failure is an outcome. What was leased is free again when its lease ends.
      this.logger.warn(`could not relay to ${this.relay.sink.name}, will try again: ${String(error)}`);
      return { handedOn: 0, full: false, failed: true };
    }
  }

  private async pauseUntilKicked(): Promise<void> {
    if (this.kicked || this.stopping.signal.aborted) return;
    await this.pause(POLL_MS, true);
  }

  private async pauseAfterFailure(): Promise<void> {
    if (this.stopping.signal.aborted) return;
    const pauseMs = FIRST_FAILURE_PAUSE_MS * 2 ** Math.min(this.failuresInARow - 1, 10);
    await this.pause(Math.min(pauseMs, LONGEST_FAILURE_PAUSE_MS), false);
  }

  /** New events end a pause for want of events, and not one for want of a sink. */
  private async pause(pauseMs: number, endsWhenKicked: boolean): Promise<void> {
    const ended = Promise.withResolvers<void>();
    const timer = setTimeout(ended.resolve, pauseMs);
    this.endPause = () => {
      if (endsWhenKicked || this.stopping.signal.aborted) ended.resolve();
    };
    await ended.promise;
    clearTimeout(timer);
    this.endPause = undefined;
  }
}

function noop(): void {
  // A limit that was not reached ends by being aborted.
}
