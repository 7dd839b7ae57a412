import { Injectable } from '@nestjs/common';
import { type Transaction } from '../database/pipelined-transactions.js';
import { WRITTEN_BY_THIS_TRANSACTION } from '../idempotency/claims.store.js';

export type EventType =
  | 'payment.completed'
  | 'payment.authorized'
  | 'payment.failed'
  | 'payment.canceled'
  | 'refund.completed'
  | 'refund.failed';

/** What happened. `eventId` is a UUIDv7 that never changes; `resource` is the JSON of the payment or refund as it is now. */
export interface NewEvent {
  merchantId: string;
  eventId: string;
  type: EventType;
  transactionId: string;
  resource: string;
  createdAt: Date;
}

/** The SQL of `events`, the outbox. */
@Injectable()
export class EventsStore {
  /** Appends one event for each payment that this transaction changed, numbered by the payment's own counter. */
  async append(tx: Transaction, events: readonly NewEvent[]): Promise<void> {
    if (events.length === 0) return;
    await tx.query({
      name: 'events.append',
      text: `
        INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
        SELECT i.merchant_id, i.event_id, i.type, i.transaction_id, p.event_sequence, i.resource, i.created_at
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::json[], $6::timestamptz[])
          AS i(merchant_id, event_id, type, transaction_id, resource, created_at)
        JOIN payments p USING (merchant_id, transaction_id)
        WHERE ${WRITTEN_BY_THIS_TRANSACTION('p')}`,
      values: [
        events.map((event) => event.merchantId),
        events.map((event) => event.eventId),
        events.map((event) => event.type),
        events.map((event) => event.transactionId),
        events.map((event) => event.resource),
        events.map((event) => event.createdAt),
      ],
    });
  }
}
