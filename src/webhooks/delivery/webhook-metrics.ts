import { Injectable } from '@nestjs/common';
import { Counter, Gauge, Histogram } from 'prom-client';
import { Metrics } from '../../metrics/metrics.js';

const DURATION_BUCKETS_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30];

/** How a delivery's turn ended. `waited` is a turn without a try. */
export type TurnEnd = 'delivered' | 'retry' | 'failed' | 'gone' | 'canceled' | 'waited' | 'not_recorded';

/** Counts and times the deliveries of this process. */
@Injectable()
export class WebhookMetrics {
  private readonly turns: Counter<'outcome'>;
  private readonly durations: Histogram;
  private readonly disabled: Counter<'reason'>;
  private readonly inFlight: Gauge;

  constructor({ registry }: Metrics) {
    const registers = [registry];
    this.turns = new Counter({
      name: 'hapax_webhook_turns_total',
      help: 'Turns that deliveries had, by what became of them.',
      labelNames: ['outcome'],
      registers,
    });
    this.durations = new Histogram({
      name: 'hapax_webhook_try_duration_seconds',
      help: 'How long endpoints took to answer, or not to.',
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    });
    this.disabled = new Counter({
      name: 'hapax_webhook_endpoints_disabled_total',
      help: 'Endpoints that were disabled because of how they answered, by reason.',
      labelNames: ['reason'],
      registers,
    });
    this.inFlight = new Gauge({
      name: 'hapax_webhook_tries_in_flight',
      help: 'Tries that wait for an answer.',
      registers,
    });
  }

  tryBegan(): void {
    this.inFlight.inc();
  }

  tryEnded(durationMs: number): void {
    this.inFlight.dec();
    this.durations.observe(durationMs / 1_000);
  }

  turnEnded(end: TurnEnd): void {
    this.turns.inc({ outcome: end });
  }

  endpointDisabled(reason: 'gone' | 'failing'): void {
    this.disabled.inc({ reason });
  }
}
