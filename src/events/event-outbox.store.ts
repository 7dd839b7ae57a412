import { Injectable } from '@nestjs/common';
import { batchOf } from '../database/batch.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import type { OutboxEvent } from './event.js';

/** What waits for one sink. */
export interface SinkBacklog {
  sink: string;
  /** At most {@link MAX_COUNTED}. */
  count: number;
  /** Of the oldest one, from its own time. */
  oldestSeconds: number;
}

/** A number that everybody reads as "far too many", and that is counted in some milliseconds. */
export const MAX_COUNTED = 100_000;

/** The pauses of an event that a sink refuses, doubling from try to try. Only that payment's later events wait with it. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

const SINKS = batchOf<string>({ sink: ['text', (sink) => sink] });

/** The lease's id is the parameter before them. */
const LEASED_EVENTS = batchOf<{ sink: string; eventId: string }>(
  {
    sink: ['text', (event) => event.sink],
    event_id: ['uuid', (event) => event.eventId],
  },
  2,
);

/** The SQL of `event_outbox`. Rows are written by `events.store.ts`, with the event. */
@Injectable()
export class EventOutboxStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Leases heads, oldest first: events of which no earlier one of the same payment waits for the same sink. So no two
   * relays hold two events of one payment, and none is handed on before the one that it follows. Rows, not a position
   * in an order, say what is left: a transaction that commits late is found whatever its ids are.
   *
   * The table is empty when a plan is made and full when it matters, so the planner gets no choice: it walks the
   * primary key, and asks for the first row of each payment by a subquery, which it cannot turn into a join. Before
   * PostgreSQL 18 a plan without a choice counts as an expensive one, and would be compiled at every execution.
   */
  async lease(sink: string, leaseId: string, leaseMs: number, limit: number): Promise<OutboxEvent[]> {
    const [, { rows }] = await this.transactions.run((tx) => [
      tx.query({
        name: 'event_outbox.walk_in_order',
        text: `
          SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),
            set_config('jit', 'off', true)`,
        values: [],
      }),
      tx.query<OutboxEvent>({
        name: 'event_outbox.lease',
        text: `
          WITH heads AS MATERIALIZED (
            SELECT o.sink, o.event_id FROM event_outbox o
            WHERE o.sink = $1 AND (o.lease_until IS NULL OR o.lease_until <= clock_timestamp())
              AND o.sequence = (
                SELECT first.sequence FROM event_outbox first
                WHERE first.sink = o.sink AND first.merchant_id = o.merchant_id
                  AND first.transaction_id = o.transaction_id
                ORDER BY first.sequence LIMIT 1)
            ORDER BY o.event_id LIMIT $4 FOR UPDATE OF o SKIP LOCKED
          ), leased AS (
            UPDATE event_outbox o
            SET lease_id = $2, lease_until = clock_timestamp() + $3 * interval '1 millisecond'
            FROM heads h
            WHERE o.sink = h.sink AND o.event_id = h.event_id
            RETURNING o.merchant_id, o.event_id
          )
          SELECT e.merchant_id AS "merchantId", e.event_id AS "eventId", e.type,
            e.transaction_id AS "transactionId", e.sequence, e.created_at AS "createdAt", e.resource::text AS resource
          FROM leased l
          JOIN events e USING (merchant_id, event_id)
          ORDER BY e.event_id`,
        values: [sink, leaseId, leaseMs, limit],
      }),
    ]);
    return rows;
  }

  /** Deletes what the sink has taken. Fenced: a batch whose lease another relay has taken over is left to that one. */
  async forget(sink: string, leaseId: string, eventIds: readonly string[]): Promise<void> {
    await this.transactions.read({
      name: 'event_outbox.forget',
      text: `
        DELETE FROM event_outbox o
        USING ${LEASED_EVENTS.rows('i')}
        WHERE o.sink = i.sink AND o.event_id = i.event_id AND o.lease_id = $1`,
      values: leasedEvents(sink, leaseId, eventIds),
    });
  }

  /** Lets what the sink has refused wait, each for longer than the last time. Fenced. */
  async postpone(sink: string, leaseId: string, eventIds: readonly string[]): Promise<void> {
    const { next } = LEASED_EVENTS;
    await this.transactions.read({
      name: 'event_outbox.postpone',
      text: `
        UPDATE event_outbox o
        SET attempts = o.attempts + 1, lease_id = NULL,
          lease_until = clock_timestamp()
            + least($${next} * power(2, least(o.attempts, 30)), $${next + 1}) * interval '1 millisecond'
        FROM ${LEASED_EVENTS.rows('i')}
        WHERE o.sink = i.sink AND o.event_id = i.event_id AND o.lease_id = $1`,
      values: [...leasedEvents(sink, leaseId, eventIds), FIRST_PAUSE_MS, LONGEST_PAUSE_MS],
    });
  }

  /** Gives back what was not tried. Fenced. */
  async giveBack(sink: string, leaseId: string, eventIds: readonly string[]): Promise<void> {
    await this.transactions.read({
      name: 'event_outbox.give_back',
      text: `
        UPDATE event_outbox o
        SET lease_id = NULL, lease_until = NULL
        FROM ${LEASED_EVENTS.rows('i')}
        WHERE o.sink = i.sink AND o.event_id = i.event_id AND o.lease_id = $1`,
      values: leasedEvents(sink, leaseId, eventIds),
    });
  }

  /** How much waits for each of these sinks, and for how long already. */
  backlog(sinks: readonly string[]): Promise<SinkBacklog[]> {
    return this.transactions.read<SinkBacklog>({
      name: 'event_outbox.backlog',
      text: `
        SELECT i.sink,
          (SELECT count(*) FROM (SELECT FROM event_outbox o WHERE o.sink = i.sink LIMIT $${SINKS.next}) counted)::int
            AS count,
          coalesce((
            SELECT greatest(0, extract(epoch FROM clock_timestamp() - e.created_at))
            FROM (SELECT * FROM event_outbox o WHERE o.sink = i.sink ORDER BY o.event_id LIMIT 1) oldest
            JOIN events e USING (merchant_id, event_id)), 0)::float8 AS "oldestSeconds"
        FROM ${SINKS.rows('i')}`,
      values: [...SINKS.values(sinks), MAX_COUNTED],
    });
  }
}

function leasedEvents(sink: string, leaseId: string, eventIds: readonly string[]): unknown[] {
  return [leaseId, ...LEASED_EVENTS.values(eventIds.map((eventId) => ({ sink, eventId })))];
}
