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

  constructor(
    private readonly events: EventsStore,
    private readonly relay: EventRelay,
  ) {}

  write(tx: Transaction, changes: readonly ClaimedChange<NewEvent>[]): Promise<void> {
    return this.events.append(
      tx,
      changes.map(({ change }) => change),
    );
  }

  committed(): void {
    this.relay.wake();
  }
}
