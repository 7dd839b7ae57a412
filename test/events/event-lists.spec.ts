import type { DataSource } from 'typeorm';
import { createDataSource } from '../../src/database/data-source.js';
import { ENTITIES } from '../../src/entities.js';
import { EventSinks } from '../../src/events/event-sink.js';
import { EventsStore } from '../../src/events/events.store.js';
import { pagesRead } from '../support/pages-read.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const MERCHANT = '00000000-0000-7000-8000-000000000001';
const PAYMENT = '00000000-0000-7000-8000-000000000002';
const BEGIN = new Date('2026-06-01T00:00:00Z');
const MANY = 40_000;
/** A page of rows, and an index for each. All events take hundreds. */
const PAGES_AT_MOST = 150;

type Filter = Parameters<EventsStore['list']>[1];

describe('a list of events', () => {
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeAll(async () => {
    database = await createTestDatabase();
    dataSource = await createDataSource(database.url, ENTITIES).initialize();
    await dataSource.query('ALTER TABLE events SET (autovacuum_enabled = off)');
    await dataSource.query(
      `INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
       SELECT $1, (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7000'
           || '8000' || lpad(n::text, 12, '0'))::uuid, CASE n WHEN 7 THEN 'refund.failed' ELSE 'payment.completed' END,
         CASE WHEN n <= 3 THEN $3::uuid ELSE gen_random_uuid() END, n, '{"n": 1}', made
       FROM generate_series(1, ${MANY}) n, LATERAL (SELECT $2::timestamptz + n * interval '1 second' AS made) m`,
      [MERCHANT, BEGIN, PAYMENT],
    );
  });
  afterAll(async () => {
    await dataSource.destroy();
    await database.drop();
  });

  const list = (filter: Filter) => new EventsStore(dataSource, new EventSinks()).list(MERCHANT, filter, 21);

  describe.each(['before', 'after'])('of very many, %s the planner has statistics', (when) => {
    beforeAll(async () => {
      if (when === 'after') await dataSource.query('ANALYZE events');
    });

    it.each<[string, Filter, number]>([
      ['all of them', {}, 21],
      ['those of one payment', { transactionId: PAYMENT }, 3],
      ['those of one payment and of a type', { transactionId: PAYMENT, type: 'payment.completed' }, 3],
      ['those of a payment without any', { transactionId: MERCHANT }, 0],
      ['those of a rare type', { type: 'refund.failed' }, 1],
      ['those of a type that never happened', { type: 'payment.failed' }, 0],
      ['the first of them', { createdLt: new Date(BEGIN.getTime() + 5_000) }, 4],
      ['those after all', { createdGte: new Date('2100-01-01') }, 0],
    ])('reads few pages to find %s', async (_what, filter, found) => {
      expect(await list(filter)).toHaveLength(found);
      expect(await pagesRead(dataSource, () => list(filter))).toBeLessThan(PAGES_AT_MOST);
    });
  });

  it('control: by the time alone, without the range of ids, it reads them all', async () => {
    const withoutIds = (text: string) => text.replace(/"e"\."event_id" < (\$\d+)/, '$1::uuid IS NOT NULL');
    const filter = { createdLt: BEGIN };
    expect(await pagesRead(dataSource, () => list(filter), withoutIds)).toBeGreaterThan(400);
  });
});
