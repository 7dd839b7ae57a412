import type { EventType } from './events.store.js';

/** An event as it is handed on: never changing, however often. */
export interface OutboxEvent {
  merchantId: string;
  eventId: string;
  type: EventType;
  transactionId: string;
  /** Counts a payment's events from 1, without gaps. */
  sequence: number;
  createdAt: Date;
  /** The resource as it was then: JSON text. */
  resource: string;
}

/** Where committed events go. Handing one on again must be harmless: a relay may die between doing it and noting it. */
export interface EventSink {
  /** Stored with each outbox row. Never rename one. */
  readonly name: string;
  /** Resolves when all of them are safe with the sink; the relay forgets them then. Throws to be asked again. */
  handOn(events: readonly OutboxEvent[]): Promise<void>;
}

/** Injection token of the sinks of this process: `readonly EventSink[]`. They are named in `events.module.ts`. */
export const EVENT_SINKS = Symbol('EventSinks');
