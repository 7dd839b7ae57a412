import { Injectable } from '@nestjs/common';
import { batchOf } from '../database/batch.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import type { OutboxEvent } from './event.js';

/** The events that wait for one sink. */
export interface SinkBacklog {
  sink: string;
  /** At most {@link MAX_COUNTED}. */
  count: number;
  /** The age of the oldest event, counted from when it happened. */
  oldestSeconds: number;
}

/** A number that everyone reads as "far too many", and that takes only milliseconds to count to. */
export const MAX_COUNTED = 100_000;

/** The pauses after a refusal, doubling from try to try. Only later events of the same payment wait with it. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

const SINKS = batchOf<string>({ sink: ['text', (sink) => sink] });

/** The lease's id is parameter $1, before these. */
const LEASED_EVENTS = batchOf<{ sink: string; eventId: string }>(
  {
    sink: ['text', (event) => event.sink],
    event_id: ['uuid', (event) => event.eventId],
  },
  2,
);

/** The SQL of `event_outbox`. `events.store.ts` inserts the rows together with their events. */
@Injectable()
export class EventOutboxStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Leases the oldest heads first. A head is an event with no earlier event of the same payment waiting for the same
   * sink. So no two relays hold events of one payment, and none is handed on before its predecessor. The rows
   * themselves say what is left, not a position in an order: a transaction that commits late is found whatever its ids
   * are.
   *
   * The table is empty when the plan is made and full when it matters, so the statement leaves the planner no choice:
   * it walks the primary key and finds the first row of each payment by a subquery that cannot become a join. Before
   * PostgreSQL 18, a plan without a choice counts as an expensive one and would be compiled (JIT) at every execution.
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

  /** Deletes the events that the sink has taken. Fenced: a batch that another relay has leased since is left alone. */
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

  /** Makes refused events wait, each longer than the last time. Fenced. */
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

  /** Puts back the events that were not tried. Fenced. */
  async giveBack(sink: string, leaseId: string, eventIds: readonly string[]): Promise<void> {
    await this.transactions.read({
      name: 'event_outbox.put_back',
      text: `
        UPDATE event_outbox o
        SET lease_id = NULL, lease_until = NULL
        FROM ${LEASED_EVENTS.rows('i')}
        WHERE o.sink = i.sink AND o.event_id = i.event_id AND o.lease_id = $1`,
      values: leasedEvents(sink, leaseId, eventIds),
    });
  }

  /** How many events wait for each of these sinks, and how long the oldest has waited. */
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
