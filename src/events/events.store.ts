import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { batchOf } from '../database/batch.js';
import { writtenBy, type Transaction } from '../database/pipelined-transactions.js';
import { firstUuidAt } from '../ids/uuidv7.js';
import { EventEntity } from './event.entity.js';
import type { EventType, NewEvent } from './event.js';
import { EventSinks } from './event-sink.js';

interface EventFilter {
  type?: EventType | undefined;
  transactionId?: string | undefined;
  createdGte?: Date | undefined;
  createdLt?: Date | undefined;
  /** Only events older than this one, which is the last on the previous page. */
  before?: string | undefined;
}

/**
 * An event's id carries its own time, to the millisecond. All events of the slack are read in vain, and in a minute there
 * may be a hundred thousand.
 */
const ID_SLACK_MS = 1_000;

const NEW_EVENTS = batchOf<NewEvent>({
  merchant_id: ['uuid', (event) => event.merchantId],
  event_id: ['uuid', (event) => event.eventId],
  type: ['text', (event) => event.type],
  transaction_id: ['uuid', (event) => event.transactionId],
  resource: ['json', (event) => event.resource],
  created_at: ['timestamptz', (event) => event.createdAt],
});

const SINKS = batchOf<string>({ sink: ['text', (sink) => sink] }, NEW_EVENTS.next);

/** The SQL of `events`, and of the outbox rows that go with them. */
@Injectable()
export class EventsStore {
  constructor(
    private readonly dataSource: DataSource,
    private readonly sinks: EventSinks,
  ) {}

  /**
   * Appends one event for each payment that this transaction changed, numbered by the payment's own counter, and one
   * outbox row for each sink that wants it. It is one statement, because a second one would have to find the rows of
   * the first.
   * @returns how many outbox rows there are for the relay
   */
  async append(tx: Transaction, events: readonly NewEvent[]): Promise<number> {
    const { rowCount } = await tx.query({
      name: 'events.append',
      text: `
        WITH appended AS (
          INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
          SELECT i.merchant_id, i.event_id, i.type, i.transaction_id, p.event_sequence, i.resource, i.created_at
          FROM ${NEW_EVENTS.rows('i')}
          JOIN payments p USING (merchant_id, transaction_id)
          WHERE ${writtenBy('p', SINKS.next)}
          RETURNING merchant_id, event_id, type, transaction_id, sequence
        )
        INSERT INTO event_outbox (sink, merchant_id, event_id, transaction_id, sequence)
        SELECT s.sink, e.merchant_id, e.event_id, e.transaction_id, e.sequence
        FROM ${SINKS.rows('s')} CROSS JOIN appended e
        WHERE ${this.sinks.wants('s.sink')}`,
      values: [...NEW_EVENTS.values(events), ...SINKS.values(this.sinks.names()), tx.token],
    });
    return rowCount ?? 0;
  }

  find(merchantId: string, eventId: string): Promise<EventEntity | null> {
    return this.dataSource.manager.findOneBy(EventEntity, { merchantId, eventId });
  }

  /**
   * Newest first. An event's id begins with its time, so the primary key gives the order, and a period is a range of
   * it.
   */
  list(merchantId: string, filter: EventFilter, limit: number): Promise<EventEntity[]> {
    const { type, transactionId, createdGte, createdLt, before } = filter;
    const query = this.dataSource.manager
      .createQueryBuilder(EventEntity, 'e')
      .where('e.merchantId = :merchantId', { merchantId })
      .orderBy('e.eventId', 'DESC')
      .limit(limit);
    if (type) query.andWhere('e.type = :type', { type });
    if (transactionId) {
      // A join or a plain condition leaves the planner a choice. Without statistics it then walks all of a merchant's
      // events in their order to find those of one payment.
      const itsEvents =
        'SELECT x.event_id FROM events x WHERE x.merchant_id = :merchantId AND x.transaction_id = :transactionId';
      query.andWhere(`e.eventId = ANY (ARRAY(${itsEvents}))`, { transactionId });
    }
    if (createdGte) {
      query.andWhere('e.createdAt >= :createdGte AND e.eventId >= :first', {
        createdGte,
        first: firstUuidAt(new Date(createdGte.getTime() - ID_SLACK_MS)),
      });
    }
    if (createdLt) {
      query.andWhere('e.createdAt < :createdLt AND e.eventId < :end', {
        createdLt,
        end: firstUuidAt(new Date(createdLt.getTime() + ID_SLACK_MS)),
      });
    }
    if (before) query.andWhere('e.eventId < :before', { before });
    return query.getMany();
  }
}
