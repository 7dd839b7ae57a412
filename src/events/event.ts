import { SinkAddress } from '../idempotency/settlement.js';

/** Everything that can happen to a payment. Receivers know these names: never rename one. */
export const EVENT_TYPES = [
  'payment.pending',
  'payment.authorized',
  'payment.completed',
  'payment.failed',
  'payment.canceled',
  'refund.completed',
  'refund.failed',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * What happened. `eventId` is a UUIDv7 of `createdAt` that never changes. `resource` is the JSON of the payment or
 * refund right after it happened.
 */
export interface NewEvent {
  merchantId: string;
  eventId: string;
  type: EventType;
  transactionId: string;
  resource: string;
  createdAt: Date;
}

/** An event as sinks and readers get it. It never changes, however often it is handed on. */
export interface OutboxEvent extends NewEvent {
  /** Counts a payment's events from 1, without gaps. */
  sequence: number;
}

/**
 * Where a settlement sends its event. The same settlement must write the payment's row with one more event counted,
 * because the event takes its number from there.
 */
export const EVENTS = new SinkAddress<NewEvent>('events');
