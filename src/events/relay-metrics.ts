import { Injectable } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { Metrics } from '../metrics/metrics.js';
import { sharedCollect } from '../metrics/shared-collect.js';
import { EventOutboxStore, MAX_COUNTED, type SinkBacklog } from './event-outbox.store.js';
import { EventSinks } from './event-sink.js';

/** What the relay has done in this process, and what waits for all processes. */
@Injectable()
export class RelayMetrics {
  private readonly handedOnTotal: Counter;
  private readonly refusedTotal: Counter;
  private readonly waiting: Gauge;
  private readonly oldest: Gauge;

  constructor(
    private readonly outbox: EventOutboxStore,
    private readonly sinks: EventSinks,
    { registry }: Metrics,
  ) {
    this.handedOnTotal = new Counter({
      name: 'hapax_events_handed_on_total',
      help: 'Events that a sink has taken, by sink.',
      labelNames: ['sink'],
      registers: [registry],
    });
    this.refusedTotal = new Counter({
      name: 'hapax_events_refused_total',
      help: 'Events that a sink did not take and that will be handed on again, by sink.',
      labelNames: ['sink'],
      registers: [registry],
    });
    const collect = sharedCollect(() => this.collect());
    this.waiting = new Gauge({
      name: 'hapax_events_waiting',
      help: `Events that a sink has not taken yet, by sink; counted up to ${MAX_COUNTED}.`,
      labelNames: ['sink'],
      registers: [registry],
      collect,
    });
    this.oldest = new Gauge({
      name: 'hapax_events_oldest_waiting_seconds',
      help: 'Age of the oldest event that a sink has not taken yet, by sink; 0 for none.',
      labelNames: ['sink'],
      registers: [registry],
      collect,
    });
  }

  handedOn(sink: string, count: number): void {
    this.handedOnTotal.inc({ sink }, count);
  }

  refused(sink: string, count: number): void {
    this.refusedTotal.inc({ sink }, count);
  }

  /** What waits for this process's sinks. Null if the database does not answer. */
  async read(): Promise<SinkBacklog[] | null> {
    const sinks = this.sinks.names();
    if (sinks.length === 0) return [];
    return this.outbox.backlog(sinks).catch(() => null);
  }

  private async collect(): Promise<void> {
    // Keep the last value rather than fail the scrape: other metrics show that the database is down.
    for (const { sink, count, oldestSeconds } of (await this.read()) ?? []) {
      this.waiting.set({ sink }, count);
      this.oldest.set({ sink }, oldestSeconds);
    }
  }
}
