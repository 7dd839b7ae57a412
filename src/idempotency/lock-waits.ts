import { Injectable } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { Metrics } from '../metrics/metrics.js';

/** Exposes how much work of this process waits for rows that somebody else has locked. */
@Injectable()
export class LockWaitsReport {
  constructor({ sideLane }: PipelinedTransactions, metrics: Metrics) {
    const waiting = new Gauge({
      name: 'hapax_waiting_for_locks',
      help: 'Writes that wait in the side lane for rows or tables that another transaction has locked.',
      registers: [],
      collect() {
        this.set(sideLane.size);
      },
    });
    metrics.registry.registerMetric(waiting);
  }
}
