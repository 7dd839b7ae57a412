import { Injectable, Logger } from '@nestjs/common';
import type { Transaction } from '../database/pipelined-transactions.js';
import type { Claim } from './claims.store.js';
import type { AnySink, ClaimedChange, SinkAddress, Write } from './settlement.js';

/** The sinks of this service, in the order in which they write. `app.module.ts` lists them. */
@Injectable()
export class SettlementSinks {
  private readonly logger = new Logger(SettlementSinks.name);
  private readonly sinks: AnySink[] = [];

  /** Later sinks may build on the rows of earlier ones: an event takes its number from its payment's row. */
  register(sinks: readonly AnySink[]): void {
    for (const sink of sinks) {
      if (this.sinks.some(({ address }) => address === sink.address))
        throw new Error(`two sinks are registered for ${sink.address.name}`);
      this.sinks.push(sink);
    }
  }

  /** Issues one statement per sink that has something to write. */
  write(tx: Transaction, settled: readonly { claim: Claim; writes: readonly Write[] }[]): Promise<void>[] {
    const changes = new Map<SinkAddress<unknown>, ClaimedChange<unknown>[]>();
    for (const { claim, writes } of settled) {
      for (const { to, change } of writes) {
        const batch = changes.get(to);
        if (batch === undefined) changes.set(to, [{ claim, change }]);
        else batch.push({ claim, change });
      }
    }
    // Before anything is issued: half a settlement must not reach the database.
    for (const address of changes.keys())
      if (!this.sinks.some((sink) => sink.address === address))
        throw new Error(`no sink is registered for ${address.name}`);
    return this.sinks.flatMap((sink) => {
      const batch = changes.get(sink.address);
      return batch === undefined ? [] : [sink.write(tx, batch)];
    });
  }

  /** The transaction is committed, so a sink that throws now must not make it look failed. */
  committed(settled: readonly { writes: readonly Write[] }[]): void {
    const written = new Set(settled.flatMap(({ writes }) => writes.map(({ to }) => to)));
    for (const sink of this.sinks) {
      try {
        if (written.has(sink.address)) sink.committed?.();
      } catch (error) {
        this.logger.error(`${sink.address.name} failed after a commit`, error);
      }
    }
  }
}
