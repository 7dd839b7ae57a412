import { Injectable } from '@nestjs/common';
import { Counter, Gauge, Histogram } from 'prom-client';
import { Metrics } from '../metrics/metrics.js';
import type { Finding } from '../domain/outcome.js';
import type { GatewayCallKind } from './gateway.js';

/** From a gateway in this process up to one that uses its whole deadline. */
const DURATION_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60];

const BREAKER_STATES = ['closed', 'half_open', 'open'] as const;
export type BreakerState = (typeof BREAKER_STATES)[number];

/** What a gateway is asked: a call, or what became of one. `find` is the metric's old word for an inquiry. */
export type AskedKind = GatewayCallKind | 'find';

/** The state of a gateway's breaker and bulkhead at this moment. */
interface GatewayCondition {
  breaker: BreakerState;
  inFlight: number;
  queued: number;
}

/** How the gateways are doing. Conditions are read at the scrape, so they cost a call nothing. */
@Injectable()
export class GatewayMetrics {
  private readonly gateways = new Map<string, () => GatewayCondition>();
  private readonly durations: Histogram<'gateway' | 'kind' | 'outcome'>;
  private readonly retries: Counter<'gateway' | 'kind'>;
  private readonly rejections: Counter<'gateway' | 'by'>;
  /** The registry collects them. Nothing else reads them. */
  readonly conditions: readonly Gauge[];
  /** prom-client's children: `labels()` would build one at every call. */
  private readonly children = new Map<string, Histogram.Internal<'gateway' | 'kind' | 'outcome'>>();

  constructor({ registry }: Metrics) {
    const registers = [registry];
    this.durations = new Histogram({
      name: 'hapax_gateway_call_duration_seconds',
      help: 'How long calls of a gateway took, with their retries, by gateway, kind and outcome.',
      labelNames: ['gateway', 'kind', 'outcome'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    });
    this.retries = new Counter({
      name: 'hapax_gateway_retries_total',
      help: 'Tries of gateway calls after the first.',
      labelNames: ['gateway', 'kind'],
      registers,
    });
    this.rejections = new Counter({
      name: 'hapax_gateway_rejected_total',
      help: 'Tries that never left, by what held them back: the open breaker or the full bulkhead.',
      labelNames: ['gateway', 'by'],
      registers,
    });
    this.conditions = this.conditionGauges(registers);
  }

  /** Reports a gateway's condition from now on. */
  watch(gateway: string, condition: () => GatewayCondition): void {
    this.gateways.set(gateway, condition);
  }

  called(gateway: string, kind: AskedKind, outcome: Finding['kind'], durationMs: number): void {
    const key = `${gateway} ${kind} ${outcome}`;
    let child = this.children.get(key);
    if (child === undefined) {
      child = this.durations.labels({ gateway, kind, outcome });
      this.children.set(key, child);
    }
    child.observe(durationMs / 1_000);
  }

  retried(gateway: string, kind: AskedKind): void {
    this.retries.inc({ gateway, kind });
  }

  rejected(gateway: string, by: 'breaker' | 'bulkhead'): void {
    this.rejections.inc({ gateway, by });
  }

  /** Gauges whose values are read at the scrape. */
  private conditionGauges(registers: Metrics['registry'][]): Gauge[] {
    const gateways = this.gateways;
    const breakers = new Gauge({
      name: 'hapax_gateway_breaker_state',
      help: 'The circuit breaker of a gateway: 1 for the state that it is in, 0 for the others.',
      labelNames: ['gateway', 'state'],
      registers,
      collect() {
        for (const [gateway, condition] of gateways) {
          const { breaker } = condition();
          for (const state of BREAKER_STATES) this.set({ gateway, state }, state === breaker ? 1 : 0);
        }
      },
    });
    const inFlight = new Gauge({
      name: 'hapax_gateway_in_flight',
      help: 'Calls that a gateway is working on for this process.',
      labelNames: ['gateway'],
      registers,
      collect() {
        for (const [gateway, condition] of gateways) this.set({ gateway }, condition().inFlight);
      },
    });
    const queued = new Gauge({
      name: 'hapax_gateway_queued',
      help: 'Calls that wait for others of their gateway to end.',
      labelNames: ['gateway'],
      registers,
      collect() {
        for (const [gateway, condition] of gateways) this.set({ gateway }, condition().queued);
      },
    });
    return [breakers, inFlight, queued];
  }
}
