import { Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { Backoff } from '../time/backoff.js';
import { Clock } from '../time/clock.js';
import { Worker, type Next } from '../time/worker.js';
import { EventOutboxStore } from './event-outbox.store.js';
import { EventSinks } from './event-sink.js';
import { RelayMetrics } from './relay-metrics.js';
import { SinkRelay, type Run } from './sink-relay.js';

/** How often we look for rows without a wake: the process that wrote them may have died. */
const POLL_MS = 500;
/**
 * Under load, events gather for this long, so that the two statements are paid once per batch and not once per event.
 */
const GATHER_MS = 50;
const FIRST_FAILURE_PAUSE_MS = 500;
const LONGEST_FAILURE_PAUSE_MS = 5_000;
/** A shutdown waits no longer than this for a sink. The lease ends by itself. */
const STOP_LIMIT_MS = 2_000;

/**
 * Hands committed events on to every sink, at least once, each payment's in order. Any number of processes may run
 * one: the leases in `event_outbox` divide the work. Each sink has a worker of its own, so a slow one delays no other.
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

  /** All sinks are registered by now. */
  onApplicationBootstrap(): void {
    const { outbox, clock, metrics } = this;
    this.workers = this.sinks.all().map((sink) => workerOf(new SinkRelay(sink, outbox, clock, metrics)));
    for (const worker of this.workers) worker.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.stop()));
  }

  /**
   * Called when events were committed. Cheap enough for every settlement: it only ends a pause. A NOTIFY would also
   * wake the other processes, but would make all commits queue for it.
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
    // Only the database can throw here, since a failing sink is an outcome. Leased events are free again when the
    // lease ends.
    failure: `could not relay to ${relay.sink.name}, will try again`,
    stopLimitMs: STOP_LIMIT_MS,
  });
}

function nextAfter({ handedOn, full, failed }: Run): Next {
  if (failed) return 'failed';
  if (full) return 'again';
  return handedOn > 0 ? { pauseMs: GATHER_MS } : { idleMs: POLL_MS };
}
