import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client';

/** From an empty route, which takes tenths of a millisecond, to a gateway that uses its whole deadline. */
const DURATION_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const GROUP_SIZE_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** Why a request was refused because of its idempotency key. */
export type KeyConflict =
  'idempotency_key_in_progress' | 'idempotency_key_reused' | 'idempotency_key_reversed';

/** All our metrics. Every label comes from a closed set, never from a client. One registry per app: tests boot many. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();

  private readonly requests = new Histogram({
    name: 'hapax_http_request_duration_seconds',
    help: 'How long requests took, by method, route template and status.',
    labelNames: ['method', 'route', 'status'],
    buckets: DURATION_BUCKETS_SECONDS,
    registers: [this.registry],
  });

  private readonly charges = new Counter({
    name: 'hapax_charges_total',
    help: 'Charges settled or given up, by what the gateway said.',
    labelNames: ['outcome'],
    registers: [this.registry],
  });

  private readonly replays = new Counter({
    name: 'hapax_idempotent_replays_total',
    help: 'First answers given again, by where they were found.',
    labelNames: ['source'],
    registers: [this.registry],
  });

  private readonly conflicts = new Counter({
    name: 'hapax_idempotency_conflicts_total',
    help: 'Requests refused because of their key, by problem code.',
    labelNames: ['code'],
    registers: [this.registry],
  });

  private readonly groups = new Histogram({
    name: 'hapax_group_size',
    help: 'How many operations committed together, by step.',
    labelNames: ['step'],
    buckets: GROUP_SIZE_BUCKETS,
    registers: [this.registry],
  });

  private readonly takeOvers = new Counter({
    name: 'hapax_claims_taken_over_total',
    help: 'Claims whose lease had run out, by who took them over.',
    labelNames: ['by'],
    registers: [this.registry],
  });

  /** Keeps prom-client's children, because `labels()` makes a new one at every call. */
  private readonly requestChildren = new Map<string, Histogram.Internal<'method' | 'route' | 'status'>>();

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  requestFinished(method: string, route: string, status: number, durationMs: number): void {
    const key = `${status} ${method} ${route}`;
    let child = this.requestChildren.get(key);
    if (child === undefined) {
      child = this.requests.labels({ method, route, status: String(status) });
      this.requestChildren.set(key, child);
    }
    child.observe(durationMs / 1_000);
  }

  charged(outcome: string): void {
    this.charges.inc({ outcome });
  }

  replayed(source: string): void {
    this.replays.inc({ source });
  }

  conflicted(code: KeyConflict): void {
    this.conflicts.inc({ code });
  }

  groupCommitted(step: string, size: number): void {
    this.groups.observe({ step }, size);
  }

  claimTakenOver(by: 'retry' | 'recovery'): void {
    this.takeOvers.inc({ by });
  }
}
