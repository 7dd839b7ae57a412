import { Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { Backoff } from '../time/backoff.js';
import { Clock } from '../time/clock.js';
import { Worker, type Next } from '../time/worker.js';
import { EventOutboxStore } from './event-outbox.store.js';
import { EventSinks } from './event-sink.js';
import { RelayMetrics } from './relay-metrics.js';
import { SinkRelay, type Run } from './sink-relay.js';

/** How often we look for a sink's rows that no wake told us about: the process that wrote them may have died. */
const POLL_MS = 500;
/** Under load events gather for this long, so that its two statements are paid once a batch and not once an event. */
const GATHER_MS = 50;
const FIRST_FAILURE_PAUSE_MS = 500;
const LONGEST_FAILURE_PAUSE_MS = 5_000;
/** A shutdown waits no longer than this for a sink: the lease ends by itself. */
const STOP_LIMIT_MS = 2_000;

/**
 * Hands committed events on to every sink, at least once, each payment's in order. Any number of processes may run
 * one: the leases in `event_outbox` share the work out. Each sink has a worker of its own, so a slow one delays no other.
 */
@Injectable()
export class EventRelay implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private workers: readonly Worker[] = [];

  constructor(
    private readonly sinks: EventSinks,
    private readonly outbox: EventOutboxStore,
    private readonly clock: Clock,
    private readonly metrics: RelayMetrics,
  ) {}

  /** The sinks are all registered by now. */
  onApplicationBootstrap(): void {
    const { outbox, clock, metrics } = this;
    this.workers = this.sinks.all().map((sink) => workerOf(new SinkRelay(sink, outbox, clock, metrics)));
    for (const worker of this.workers) worker.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.stop()));
  }

  /**
   * Events were committed. Cheap enough for every settlement: it only ends a pause. A NOTIFY would wake the other
   * processes as well, and would make all commits wait in one line for it.
   */
  wake(): void {
    for (const worker of this.workers) worker.wake();
  }
}

function workerOf(relay: SinkRelay): Worker {
  return new Worker({
    name: EventRelay.name,
    runOnce: async () => nextAfter(await relay.runOnce()),
    backoff: new Backoff({ firstMs: FIRST_FAILURE_PAUSE_MS, longestMs: LONGEST_FAILURE_PAUSE_MS }),
    // What throws is the database: a sink that fails is an outcome. What was leased is free when its lease ends.
    failure: `could not relay to ${relay.sink.name}, will try again`,
    stopLimitMs: STOP_LIMIT_MS,
  });
}

function nextAfter({ handedOn, full, failed }: Run): Next {
  if (failed) return 'failed';
  if (full) return 'again';
  return handedOn > 0 ? { pauseMs: GATHER_MS } : { idleMs: POLL_MS };
}
