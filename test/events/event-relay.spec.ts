import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Transaction } from '../../src/database/pipelined-transactions.js';
import { EventOutboxStore } from '../../src/events/event-outbox.store.js';
import type { OutboxEvent } from '../../src/events/event.js';
import { BATCH_SIZE } from '../../src/events/sink-relay.js';
import { drain, endLeases, relayTo, waiting, writeEvents } from '../support/outbox.js';
import { RecordingSink } from '../support/recording-sink.js';
import { LONG_LEASE_MS, MERCHANT, without, WritePath } from '../support/write-path.js';

describe('the relay of events', () => {
  let db: WritePath;
  /** Keeps each test from meeting another's rows. */
  let sinkName: string;
  let turn = 0;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    db = await WritePath.open([new RecordingSink('settled')]);
  });
  beforeEach(() => {
    sinkName = `sink-${turn++}`;
  });
  afterAll(() => db.close());

  it('has one row per sink for each event, written in the event’s transaction, and none for a replay', async () => {
    const claim = await db.reserve(LONG_LEASE_MS);
    const rows = () =>
      db.query(
        `SELECT o.sink, o.sequence, o.lease_until, o.event_id = e.event_id AS same
         FROM event_outbox o JOIN events e USING (merchant_id, transaction_id, sequence) WHERE transaction_id = $1`,
        [claim.resourceId],
      );
    expect(await rows()).toEqual([]);
    await db.settle(claim);
    const written = [{ sink: 'settled', sequence: 1, lease_until: null, same: true }];
    expect(await rows()).toEqual(written);
    expect(await db.settle(claim)).toBe(false);
    expect(await rows()).toEqual(written);
  });

  it('hands on complete events as written, and forgets them', async () => {
    const sink = new RecordingSink(sinkName);
    const [payment] = await writeEvents(db, sinkName, 1, 1);
    await drain(relayTo(db, sink));
    expect(sink.taken).toEqual([
      {
        merchantId: expect.any(String),
        eventId: expect.any(String),
        type: 'payment.completed',
        transactionId: payment,
        sequence: 1,
        createdAt: expect.any(Date),
        resource: '{"n": 1}',
      },
    ]);
    expect(await waiting(db, sinkName)).toBe(0);
  });

  it('several at once: none of 2 000 events is lost, and no payment’s come out of order', async () => {
    // Random delays, so that the relays overtake each other wherever they can.
    const dawdle = () => sleep(Math.random() * 4);
    const sink = new RecordingSink(sinkName, dawdle);
    const payments = await writeEvents(db, sinkName, 100, 20);
    await Promise.all([1, 2, 3].map(() => drain(relayTo(db, sink))));
    // A relay that found nothing may have stopped while another still held the last events.
    await drain(relayTo(db, sink));
    expect(sink.taken).toHaveLength(2_000);
    const inOrder = Array.from({ length: 20 }, (_, index) => index + 1);
    expect(sink.firstSequences()).toEqual(new Map(payments.map((id) => [id, inOrder] as const)));
    expect(await waiting(db, sinkName)).toBe(0);
  });

  it('never offers two events of one payment at once', async () => {
    const sink = new RecordingSink(sinkName);
    await writeEvents(db, sinkName, 3, 3);
    await drain(relayTo(db, sink));
    for (const events of sink.offered) {
      expect(new Set(events.map(({ transactionId }) => transactionId)).size).toBe(events.length);
    }
  });

  it('control: without the heads, they are offered at once', async () => {
    const sink = new RecordingSink(sinkName);
    await writeEvents(db, sinkName, 1, 3);
    const guard = 'AND o.sequence = (';
    await relayTo(db, sink, unguarded('event_outbox.lease', guard, 'AND 0 < (')).runOnce();
    expect(sink.offered.map(({ length }) => length)).toEqual([3]);
  });

  it('killed before it notes what it handed on: another hands the same ids on again, and then what follows', async () => {
    const sink = new RecordingSink(sinkName);
    await writeEvents(db, sinkName, 5, 2);
    const doomed = new EventOutboxStore(db.transactions);
    doomed.forget = () => Promise.reject(new Error('killed'));
    await expect(relayTo(db, sink, doomed).runOnce()).rejects.toThrow('killed');
    expect(sink.taken.map(({ sequence }) => sequence)).toEqual([1, 1, 1, 1, 1]);
    const first = idsOf(sink.taken);

    await drain(relayTo(db, sink));
    expect(sink.taken).toHaveLength(5);
    await endLeases(db);
    await drain(relayTo(db, sink));
    expect(idsOf(sink.taken.slice(5, 10)).toSorted()).toEqual(first.toSorted());
    expect([...sink.firstSequences().values()]).toEqual(Array.from({ length: 5 }, () => [1, 2]));
    expect(await waiting(db, sinkName)).toBe(0);
  });

  it('paused past its lease: it neither forgets nor postpones what another has leased since', async () => {
    await writeEvents(db, sinkName, 1, 1);
    const outbox = new EventOutboxStore(db.transactions);
    const [event] = await outbox.lease(sinkName, LATE, 0, 10);
    expect(await outbox.lease(sinkName, CURRENT, LONG_LEASE_MS, 10)).toHaveLength(1);
    await outbox.forget(sinkName, LATE, [event!.eventId]);
    await outbox.postpone(sinkName, LATE, [event!.eventId]);
    await outbox.giveBack(sinkName, LATE, [event!.eventId]);
    expect(
      await db.query(
        'SELECT lease_id, attempts, lease_until > now() AS held FROM event_outbox WHERE sink = $1',
        [sinkName],
      ),
    ).toEqual([{ lease_id: CURRENT, attempts: 0, held: true }]);
    await outbox.forget(sinkName, CURRENT, [event!.eventId]);
    expect(await waiting(db, sinkName)).toBe(0);
  });

  it('control: without the fence, the late relay forgets it', async () => {
    await writeEvents(db, sinkName, 1, 1);
    const outbox = unguarded('event_outbox.forget', 'AND o.lease_id = $1', 'AND $1::uuid IS NOT NULL');
    const [event] = await outbox.lease(sinkName, LATE, 0, 10);
    await outbox.lease(sinkName, CURRENT, LONG_LEASE_MS, 10);
    await outbox.forget(sinkName, LATE, [event!.eventId]);
    expect(await waiting(db, sinkName)).toBe(0);
  });

  it('a transaction that commits late with an earlier id is not skipped', async () => {
    const sink = new RecordingSink(sinkName);
    const relay = relayTo(db, sink);
    const late = db.dataSource.createQueryRunner();
    await late.startTransaction();
    const lateIds = await writeEvents(
      { query: (sql, values) => late.query(sql, values) } as WritePath,
      sinkName,
      2,
      2,
    );
    await sleep(2);
    await writeEvents(db, sinkName, 3, 1);
    await drain(relay);
    expect(sink.taken).toHaveLength(3);
    const newest = idsOf(sink.taken).toSorted().at(-1)!;

    await late.commitTransaction();
    await late.release();
    await drain(relay);
    const afterwards = sink.taken.slice(3);
    for (const id of lateIds) expect(sink.firstSequences().get(id)).toEqual([1, 2]);
    expect(afterwards).toHaveLength(4);
    expect(idsOf(afterwards).every((id) => id < newest)).toBe(true);
  });

  it('an event that the sink cannot take holds up only its own payment', async () => {
    const payments = await writeEvents(db, sinkName, 10, 2);
    const poisoned = payments[4];
    let cured = false;
    const sink = new RecordingSink(sinkName, (events) => {
      if (!cured && events.some(({ transactionId }) => transactionId === poisoned)) throw new Error('poison');
    });
    const relay = relayTo(db, sink);
    await drain(relay);
    expect(sink.firstSequences()).toEqual(
      new Map(payments.filter((id) => id !== poisoned).map((id) => [id, [1, 2]] as const)),
    );
    // It waits, longer each time.
    const [{ now }] = (await db.query<{ now: string }>('SELECT clock_timestamp()::text AS now')) as [
      { now: string },
    ];
    await endLeases(db);
    await drain(relay);
    const [first, second] = await db.query<{ attempts: number; longer: boolean | null }>(
      `SELECT attempts, lease_until >= $2::timestamptz + interval '1 second' AS longer
       FROM event_outbox WHERE sink = $1 ORDER BY sequence`,
      [sinkName, now],
    );
    expect(first).toMatchObject({ attempts: expect.any(Number), longer: true });
    expect(first?.attempts).toBeGreaterThanOrEqual(2);
    expect(second).toEqual({ attempts: 0, longer: null });

    cured = true;
    await endLeases(db);
    await drain(relay);
    expect(sink.firstSequences().get(poisoned!)).toEqual([1, 2]);
    expect(await waiting(db, sinkName)).toBe(0);
  });

  it('many such events hold up no others either', async () => {
    const payments = await writeEvents(db, sinkName, 20, 1);
    const poisoned = new Set(payments.slice(0, 10));
    const sink = new RecordingSink(sinkName, (events) => {
      if (events.some(({ transactionId }) => poisoned.has(transactionId))) throw new Error('poison');
    });
    const relay = relayTo(db, sink);
    for (let run = 0; run < 20 && sink.taken.length < 10; run += 1) await relay.runOnce();
    expect(sink.taken).toHaveLength(10);
  });

  it('a sink that is down is offered only a few events, and gets everything once it is back', async () => {
    let down = true;
    const sink = new RecordingSink(sinkName, () => {
      if (down) throw new Error('down');
    });
    await writeEvents(db, sinkName, 50, 1);
    const relay = relayTo(db, sink);
    expect(await relay.runOnce()).toEqual({ handedOn: 0, full: false, failed: true });
    expect(sink.offered.map(({ length }) => length)).toEqual([50, 1, 1, 1]);
    expect(await relay.runOnce()).toMatchObject({ failed: true });
    expect(sink.offered).toHaveLength(5);
    expect(
      await db.query('SELECT sum(attempts)::int AS n FROM event_outbox WHERE sink = $1', [sinkName]),
    ).toEqual([{ n: 4 }]);

    down = false;
    await endLeases(db);
    await drain(relay);
    expect(sink.taken).toHaveLength(50);
  });

  it('finds the heads of 100 000 waiting events at once, behind others that cannot go yet', async () => {
    for (let part = 0; part < 10; part += 1) {
      // Another relay holds the heads of the first part. Events behind the second part's heads are never read here.
      await db.query(
        `WITH waiting AS (
           INSERT INTO event_outbox (sink, merchant_id, event_id, transaction_id, sequence, lease_until)
           SELECT $1, $2,
             ('019b2f6e-' || lpad($3::text, 4, '0') || '-7000-8000-' || lpad((5 * n + s)::text, 12, '0'))::uuid,
             md5($3 || 'payment' || n)::uuid, s,
             CASE WHEN s = 1 AND $3 = '0' THEN clock_timestamp() + interval '1 minute' END
           FROM generate_series(1, 2000) AS n, generate_series(1, 5) AS s
           RETURNING *)
         INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
         SELECT merchant_id, event_id, 'payment.completed', transaction_id, sequence, '{}', clock_timestamp()
         FROM waiting WHERE $3 IN ('0', '1')`,
        [sinkName, MERCHANT, String(part)],
      );
    }
    const outbox = new EventOutboxStore(db.transactions);
    const durationsMs: number[] = [];
    for (let batch = 0; batch < 5; batch += 1) {
      const begin = performance.now();
      expect(await outbox.lease(sinkName, CURRENT, LONG_LEASE_MS, BATCH_SIZE)).toHaveLength(BATCH_SIZE);
      durationsMs.push(performance.now() - begin);
    }
    // It takes less than 100 ms; a join of all pairs would take minutes.
    expect(durationsMs.toSorted((a, b) => a - b)[2]).toBeLessThan(1_000);
    expect(await outbox.backlog([sinkName])).toEqual([
      { sink: sinkName, count: 100_000, oldestSeconds: expect.any(Number) },
    ]);
  });

  /** The store with one guard cut out of one statement. */
  function unguarded(name: string, guard: string, replacement: string): EventOutboxStore {
    const guards = without(name, guard, replacement);
    return new EventOutboxStore({
      run: (issue: (tx: Transaction) => readonly Promise<unknown>[]) =>
        db.transactions.run((tx) => issue(guards(tx))),
      read: async (statement: never) => {
        const [{ rows }] = await db.transactions.run((tx) => [guards(tx).query(statement)]);
        return rows;
      },
    } as never);
  }
});

const LATE = '019b2f6e-0000-7000-8000-000000000001';
const CURRENT = '019b2f6e-0000-7000-8000-000000000002';

function idsOf(events: readonly OutboxEvent[]): string[] {
  return events.map(({ eventId }) => eventId);
}
