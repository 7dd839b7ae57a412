import { Injectable } from '@nestjs/common';
import type { Transaction } from '../database/pipelined-transactions.js';
import type { Claim } from './claims.store.js';
import type { AnySink, Settled, SinkAddress, Write } from './settlement.js';

/** The sinks of this service, in the order in which they write. `app.module.ts` lists them. */
@Injectable()
export class SettlementSinks {
  private readonly sinks: AnySink[] = [];

  /** Later sinks may build on the rows of earlier ones: an event takes its number from its payment's row. */
  register(sinks: readonly AnySink[]): void {
    this.sinks.push(...sinks);
  }

  /** Issues one statement per sink that has something to write. */
  write(tx: Transaction, settled: readonly { claim: Claim; writes: readonly Write[] }[]): Promise<void>[] {
    const changes = new Map<SinkAddress<unknown>, Settled<unknown>[]>();
    for (const { claim, writes } of settled) {
      for (const { to, change } of writes) {
        const batch = changes.get(to);
        if (batch === undefined) changes.set(to, [{ claim, change }]);
        else batch.push({ claim, change });
      }
    }
    const issued = this.sinks.flatMap((sink) => {
      const batch = changes.get(sink.address);
      changes.delete(sink.address);
      return batch === undefined ? [] : [sink.write(tx, batch)];
    });
    const [lost] = changes.keys();
    if (lost !== undefined) throw new Error(`no sink is registered for ${lost.name}`);
    return issued;
  }

  committed(settled: readonly { writes: readonly Write[] }[]): void {
    const written = new Set(settled.flatMap(({ writes }) => writes.map(({ to }) => to)));
    for (const sink of this.sinks) if (written.has(sink.address)) sink.committed?.();
  }
}
