import { Injectable } from '@nestjs/common';
import type { Transaction } from '../database/pipelined-transactions.js';
import type { ClaimedChange, SettlementSink } from '../idempotency/settlement.js';
import { EVENTS, type NewEvent } from './event.js';
import { EventRelay } from './event-relay.js';
import { EventsStore } from './events.store.js';

/** Appends the events of settlements, and wakes the relay when they are committed. */
@Injectable()
export class EventsSettlementSink implements SettlementSink<NewEvent> {
  readonly address = EVENTS;
  /** Whether rows were written since the last wake. A wake without rows costs a lease that finds nothing. */
  private written = false;

  constructor(
    private readonly events: EventsStore,
    private readonly relay: EventRelay,
  ) {}

  async write(tx: Transaction, changes: readonly ClaimedChange<NewEvent>[]): Promise<void> {
    const rows = await this.events.append(
      tx,
      changes.map(({ change }) => change),
    );
    if (rows > 0) this.written = true;
  }

  /** Should another transaction's commit end the wait a moment too early, the relay finds these rows at its next look. */
  committed(): void {
    if (!this.written) return;
    this.written = false;
    this.relay.wake();
  }
}
