import { Injectable } from '@nestjs/common';
import { Counter, Gauge, Histogram } from 'prom-client';
import { Metrics } from '../metrics/metrics.js';
import type { Finding } from '../domain/outcome.js';
import type { GatewayCallKind } from './gateway.js';

/** From a gateway in this process to one that uses up its deadline. */
const DURATION_BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60];

export const BREAKER_STATES = ['closed', 'half_open', 'open'] as const;
export type BreakerState = (typeof BREAKER_STATES)[number];

/** What is asked of a gateway: one of the operations, or what became of one. */
export type AskedKind = GatewayCallKind | 'find';

/** What a gateway's guard is like at the moment that it is looked at. */
export interface GatewayCondition {
  breaker: BreakerState;
  inFlight: number;
  queued: number;
}

/** How the gateways do. Conditions are read when the metrics are, so that a call costs nothing for them. */
@Injectable()
export class GatewayMetrics {
  private readonly gateways = new Map<string, () => GatewayCondition>();
  private readonly durations: Histogram<'gateway' | 'kind' | 'outcome'>;
  private readonly retries: Counter<'gateway' | 'kind'>;
  private readonly rejections: Counter<'gateway' | 'by'>;
  /** Kept so that somebody holds what the registry asks. */
  readonly conditions: readonly Gauge[];
  /** prom-client's children, which `labels()` would make anew at every call. */
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

  /** Shows a gateway's condition from now on. */
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

  /** Gauges whose values are read when they are asked for. */
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
