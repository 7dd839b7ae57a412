import { v7 as uuidv7 } from 'uuid';
import { EventOutboxStore } from '../../src/events/event-outbox.store.js';
import { EventSinks, type EventSink } from '../../src/events/event-sink.js';
import { RelayMetrics } from '../../src/events/relay-metrics.js';
import { SinkRelay } from '../../src/events/sink-relay.js';
import { Metrics } from '../../src/metrics/metrics.js';
import { Clock } from '../../src/time/clock.js';
import { MERCHANT, WritePath } from './write-path.js';

/** A relay as a process runs it. Several relays stand for several processes. */
export function relayTo(
  db: WritePath,
  sink: EventSink,
  outbox = new EventOutboxStore(db.transactions),
): SinkRelay {
  const sinks = new EventSinks();
  sinks.register([sink]);
  return new SinkRelay(sink, outbox, new Clock(), new RelayMetrics(outbox, sinks, new Metrics()));
}

/** Runs a relay until it has nothing left to do. */
export async function drain(relay: SinkRelay): Promise<void> {
  for (;;) {
    const { handedOn, full } = await relay.runOnce();
    if (handedOn === 0 && !full) return;
  }
}

/** Writes events of payments that do not exist, with their outbox rows: `each` per payment, in one statement. */
export async function writeEvents(
  db: WritePath,
  sink: string,
  payments: number,
  each: number,
): Promise<string[]> {
  const ids = Array.from({ length: payments }, () => uuidv7());
  const rows = ids.flatMap((transactionId) =>
    Array.from({ length: each }, (_, index) => ({ transactionId, eventId: uuidv7(), sequence: index + 1 })),
  );
  await db.query(
    `WITH written AS (
       INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
       SELECT $1, i.event_id, 'payment.completed', i.transaction_id, i.sequence, '{"n": 1}', clock_timestamp()
       FROM unnest($2::uuid[], $3::uuid[], $4::int[]) AS i(event_id, transaction_id, sequence)
       RETURNING *)
     INSERT INTO event_outbox (sink, merchant_id, event_id, transaction_id, sequence)
     SELECT $5, merchant_id, event_id, transaction_id, sequence FROM written`,
    [
      MERCHANT,
      rows.map((row) => row.eventId),
      rows.map((row) => row.transactionId),
      rows.map((row) => row.sequence),
      sink,
    ],
  );
  return ids;
}

/** Ends every lease and pause, as if its time had passed. */
export async function endLeases(db: WritePath): Promise<void> {
  await db.query('UPDATE event_outbox SET lease_until = clock_timestamp() WHERE lease_until IS NOT NULL');
}

export async function waiting(db: WritePath, sink: string): Promise<number> {
  const [row] = await db.query<{ n: number }>('SELECT count(*)::int AS n FROM event_outbox WHERE sink = $1', [
    sink,
  ]);
  return row?.n ?? 0;
}
