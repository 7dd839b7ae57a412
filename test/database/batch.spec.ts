import { Client } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { batchOf } from '../../src/database/batch.js';
import { createTestDatabase } from '../support/postgres.js';

interface Note {
  merchantId: string;
  body: string | null;
  pages: bigint;
}

const NOTES = batchOf<Note>({
  merchant_id: ['uuid', (note) => note.merchantId],
  body: ['text', (note) => note.body],
  pages: ['bigint', (note) => note.pages],
});

const FIRST_MERCHANT = '00000000-0000-7000-8000-000000000001';
const SECOND_MERCHANT = '00000000-0000-7000-8000-000000000002';

function noteOf(merchantId: string, body: string | null = null): Note {
  return { merchantId, body, pages: 1n };
}

describe('a batch', () => {
  it('is one array parameter per column, in the order of the columns', () => {
    expect(NOTES.rows('n')).toBe(
      'unnest($1::uuid[], $2::text[], $3::bigint[]) AS n(merchant_id, body, pages)',
    );
    expect(NOTES.values([noteOf(FIRST_MERCHANT, 'a'), noteOf(SECOND_MERCHANT)])).toEqual([
      [FIRST_MERCHANT, SECOND_MERCHANT],
      ['a', null],
      [1n, 1n],
    ]);
  });

  it('has just as many parameters when it has no items', () => {
    expect(NOTES.values([])).toEqual([[], [], []]);
  });

  it('says which number the next parameter gets', () => {
    expect(NOTES.next).toBe(4);
  });

  it('follows parameters that come before it', () => {
    const tags = batchOf<string>({ tag: ['text', (tag) => tag] }, NOTES.next);
    expect(tags.rows('t')).toBe('unnest($4::text[]) AS t(tag)');
    expect(tags.next).toBe(5);
  });

  it('refuses a value of another type when it is compiled', () => {
    // @ts-expect-error a Date is no uuid
    batchOf<Date>({ id: ['uuid', (date) => date] });
    // @ts-expect-error an amount in a text column
    batchOf<Note>({ pages: ['text', (each) => each.pages] });
    // @ts-expect-error no type that we use
    expect(batchOf<Note>({ body: ['varchar', (each) => each.body] }).next).toBe(2);
  });
});

describe('a batch by merchant', () => {
  it('has one group per merchant, ordered by id whatever order the items came in', () => {
    const [a, b, c] = [
      noteOf(SECOND_MERCHANT, 'a'),
      noteOf(FIRST_MERCHANT, 'b'),
      noteOf(SECOND_MERCHANT, 'c'),
    ];
    const expected = [
      [FIRST_MERCHANT, [b]],
      [SECOND_MERCHANT, [a, c]],
    ];
    expect([...NOTES.byMerchant([a, b, c])]).toEqual(expected);
    expect([...NOTES.byMerchant([b, a, c])]).toEqual(expected);
    expect([...NOTES.byMerchant([])]).toEqual([]);
  });

  it('needs a column that names the merchant', () => {
    const tags = batchOf<string>({ tag: ['text', (tag) => tag] });
    expect(() => tags.byMerchant(['a'])).toThrow('the batch has no merchant_id: (tag)');
  });
});

interface Sample {
  id: string;
  text: string | null;
  count: number | null;
  amount: bigint;
  flag: boolean;
  ratio: number;
  document: unknown;
  at: Date;
}

const SAMPLES = batchOf<Sample>(
  {
    id: ['uuid', (sample) => sample.id],
    text: ['text', (sample) => sample.text],
    small: ['smallint', (sample) => sample.count],
    medium: ['int', (sample) => sample.count],
    amount: ['bigint', (sample) => sample.amount],
    flag: ['boolean', (sample) => sample.flag],
    ratio: ['float8', (sample) => sample.ratio],
    document: ['json', (sample) => JSON.stringify(sample.document)],
    indexed: ['jsonb', (sample) => JSON.stringify(sample.document)],
    at: ['timestamptz', (sample) => sample.at],
  },
  2,
);

describe('a batch in PostgreSQL', () => {
  it('arrives as rows with the same values', async () => {
    const sample: Sample = {
      id: uuidv7(),
      text: '{"a", \\ NULL}\n',
      count: -1,
      amount: 9_223_372_036_854_775_807n,
      flag: true,
      ratio: 0.1,
      document: { quotes: '"\'', list: [1, null] },
      at: new Date('2026-02-28T12:34:56.789Z'),
    };
    const other: Sample = { ...sample, id: uuidv7(), text: null, count: null, document: null, flag: false };
    const database = await createTestDatabase();
    const client = new Client({ connectionString: database.url });
    try {
      await client.connect();
      const { rows } = await client.query({
        text: `
          SELECT i.*, $1::text AS before, $${SAMPLES.next}::text AS after
          FROM ${SAMPLES.rows('i')}`,
        values: ['before', ...SAMPLES.values([sample, other]), 'after'],
      });
      expect(rows).toEqual(
        [sample, other].map(({ count, amount, document, ...same }) => ({
          ...same,
          small: count,
          medium: count,
          amount: String(amount),
          document,
          indexed: document,
          before: 'before',
          after: 'after',
        })),
      );
    } finally {
      await client.end();
      await database.drop();
    }
  });
});
