import { Injectable } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { OpenClaimsStore, type UnknownOutcomes } from './open-claims.store.js';
import { Metrics } from '../metrics/metrics.js';
import { OperationRegistry } from './operation.registry.js';
import { sharedCollect } from '../metrics/shared-collect.js';

/** Exposes how many calls the gateway has not answered, and since when. Read from the database on each scrape. */
@Injectable()
export class UnknownOutcomesReport {
  private readonly count: Gauge;
  private readonly oldest: Gauge;

  constructor(
    private readonly openClaims: OpenClaimsStore,
    private readonly operations: OperationRegistry,
    metrics: Metrics,
  ) {
    const collect = sharedCollect(() => this.collect());
    this.count = new Gauge({
      name: 'hapax_unknown_outcomes',
      help: 'Calls that were sent to the gateway and whose outcome is not known, of all processes.',
      registers: [metrics.registry],
      collect,
    });
    this.oldest = new Gauge({
      name: 'hapax_unknown_outcomes_oldest_seconds',
      help: 'Age of the oldest call whose outcome is not known; 0 for none.',
      registers: [metrics.registry],
      collect,
    });
  }

  /** Null if the database does not answer. */
  async read(): Promise<UnknownOutcomes | null> {
    return this.openClaims.unknownOutcomes(this.operations.composites()).catch(() => null);
  }

  private async collect(): Promise<void> {
    const outcomes = await this.read();
    // Keep the last value rather than fail the scrape: other metrics show that the database is down.
    if (outcomes === null) return;
    this.count.set(outcomes.count);
    this.oldest.set(outcomes.oldestSeconds);
  }
}
