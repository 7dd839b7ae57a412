import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const MERCHANT = '00000000-0000-7000-8000-00000000000a';

type Row = Record<string, unknown>;

/** A statement that inserts rows with the same columns. */
function insert(table: string, ...rows: [Row, ...Row[]]): { text: string; values: unknown[] } {
  const columns = Object.keys(rows[0]);
  const tuples = rows.map(
    (_, row) => `(${columns.map((_column, index) => `$${row * columns.length + index + 1}`).join(', ')})`,
  );
  return {
    text: `INSERT INTO ${table} (${columns.join(', ')}) VALUES ${tuples.join(', ')}`,
    values: rows.flatMap((row) => columns.map((column) => row[column])),
  };
}

const payment = (changes: Record<string, unknown> = {}) =>
  insert('payments', {
    merchant_id: MERCHANT,
    transaction_id: randomUUID(),
    idempotency_key: 'one key',
    claim_id: randomUUID(),
    fingerprint: 'v1:one',
    amount: 100,
    currency: 'EUR',
    status: 'completed',
    payment_method: 'pm_card_visa',
    capture_method: 'automatic',
    amount_captured: 100,
    created_at: new Date(),
    updated_at: new Date(),
    ...changes,
  });

const claim = (changes: Record<string, unknown> = {}) =>
  insert('idempotency_keys', {
    merchant_id: MERCHANT,
    idempotency_key: 'one key',
    claim_id: randomUUID(),
    operation: 'charge',
    fingerprint: 'v1:one',
    resource_id: randomUUID(),
    status: 'in_progress',
    attempt: 1,
    lease_expires_at: new Date(),
    ...changes,
  });

/** Entries of one transfer, in one statement. */
const postings = (...entries: [Row, ...Row[]]) => {
  const [first, ...others] = entries.map((changes) => ({
    merchant_id: MERCHANT,
    ledger_transaction_id: '00000000-0000-7000-8000-0000000000ff',
    posting: 1,
    transaction_id: '00000000-0000-7000-8000-0000000000ee',
    account: 'gateway_receivable',
    currency: 'EUR',
    amount: 100,
    created_at: new Date(),
    ...changes,
  }));
  return insert('ledger_entries', first!, ...others);
};

const balanced = () => postings({}, { posting: 2, account: 'merchant_payable', amount: -100 });

interface Violation {
  guard: string;
  what: string;
  /** How the control removes the guard. */
  remove: string;
  /** What runs first and must succeed. */
  given?: (string | { text: string; values: unknown[] })[];
  /** What the guard refuses. */
  when: (string | { text: string; values: unknown[] })[];
}

const constraint = (table: string, guard: string) => ({
  guard,
  remove: `ALTER TABLE ${table} DROP CONSTRAINT ${guard}`,
});
const trigger = (guard: string) => ({ guard, remove: `DROP TRIGGER ${guard} ON ledger_entries` });

/** One trigger checks both rules for entries, and its error names the rule. */
const BALANCED = {
  guard: 'ledger_entries_balanced',
  remove: 'DROP TRIGGER ledger_entries_checked ON ledger_entries',
};

const VIOLATIONS: Violation[] = [
  {
    ...constraint('payments', 'payments_idempotency_key'),
    what: 'a second payment for one key of a merchant',
    given: [payment()],
    when: [payment()],
  },
  {
    ...constraint('payments', 'payments_amount'),
    what: 'a payment of nothing',
    when: [payment({ amount: 0, amount_captured: 0 })],
  },
  {
    ...constraint('payments', 'payments_amount'),
    what: 'a payment over the limit',
    when: [payment({ amount: 1_000_000_000_000 })],
  },
  {
    ...constraint('payments', 'payments_limits'),
    what: 'more captured than charged',
    when: [payment({ amount_captured: 101 })],
  },
  {
    ...constraint('payments', 'payments_limits'),
    what: 'more refunded than captured',
    when: [payment({ amount_refunded: 101 })],
  },
  {
    ...constraint('payments', 'payments_limits'),
    what: 'a negative refunded amount',
    when: [payment({ amount_refunded: -1 })],
  },
  {
    ...constraint('payments', 'payments_captured'),
    what: 'money captured from a pending payment',
    when: [payment({ status: 'pending' })],
  },
  {
    ...constraint('payments', 'payments_status'),
    what: 'a state that does not exist',
    when: [payment({ status: 'maybe', amount_captured: 0 })],
  },
  {
    ...constraint('payments', 'payments_currency'),
    what: 'an impossible currency code',
    when: [payment({ currency: 'eur' })],
  },
  {
    ...constraint('payments', 'payments_failure'),
    what: 'a failed payment without its reason',
    when: [payment({ status: 'failed', amount_captured: 0 })],
  },
  {
    ...constraint('idempotency_keys', 'idempotency_keys_pkey'),
    what: 'a second claim of one key of a merchant',
    given: [claim()],
    when: [claim()],
  },
  {
    ...constraint('idempotency_keys', 'idempotency_keys_answer'),
    what: 'a completed claim without an answer',
    when: [claim({ status: 'completed' })],
  },
  {
    ...constraint('idempotency_keys', 'idempotency_keys_attempt'),
    what: 'a claim without an attempt',
    when: [claim({ attempt: 0 })],
  },
  { ...BALANCED, what: 'one side of a transfer', when: [postings({})] },
  { ...BALANCED, what: 'two sides that differ', when: [postings({}, { posting: 2, amount: -99 })] },
  {
    ...BALANCED,
    what: 'two sides in two currencies',
    when: [postings({}, { posting: 2, amount: -100, currency: 'USD' })],
  },
  { ...BALANCED, what: 'a late third posting', given: [balanced()], when: [postings({ posting: 3 })] },
  {
    ...BALANCED,
    guard: 'ledger_entries_place',
    what: 'a place that its writer chose',
    when: [postings({ log_position: 5 }, { posting: 2, amount: -100, log_position: 5 })],
  },
  {
    ...trigger('ledger_entries_append_only'),
    what: 'a change of a posting',
    given: [balanced()],
    when: ['UPDATE ledger_entries SET amount = amount * 2'],
  },
  {
    ...trigger('ledger_entries_append_only'),
    what: 'a deleted posting',
    given: [balanced()],
    when: ['DELETE FROM ledger_entries'],
  },
  {
    ...trigger('ledger_entries_append_only'),
    what: 'an emptied ledger',
    given: [balanced()],
    when: ['TRUNCATE ledger_entries'],
  },
];

describe('the database itself', () => {
  let database: TestDatabase;
  let db: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    db = new Client({ connectionString: database.url });
    await db.connect();
  });
  // Everything, even the removal of a guard, happens in a transaction that is rolled back.
  beforeEach(() => db.query('BEGIN'));
  afterEach(() => db.query('ROLLBACK'));
  afterAll(async () => {
    await db.end();
    await database.drop();
  });

  async function run(statements: Violation['when']): Promise<void> {
    for (const statement of statements) await db.query(statement);
  }

  it.each(VIOLATIONS)('refuses $what ($guard)', async ({ guard, given = [], when }) => {
    await run(given);
    const refusal = await run(when).then(
      () => null,
      (error: Error & { constraint?: string }) => error,
    );
    // A trigger that runs before the statement names no constraint.
    const named =
      refusal?.constraint ?? (refusal?.message.endsWith('is append-only') && 'ledger_entries_append_only');
    expect(named).toBe(guard);
  });

  it.each(VIOLATIONS)(
    'control: without $guard it would accept $what',
    async ({ remove, given = [], when }) => {
      await db.query(remove);
      await run(given);
      await expect(run(when)).resolves.toBeUndefined();
    },
  );

  it('allows two merchants the same key', async () => {
    const other = { merchant_id: randomUUID() };
    await expect(run([payment(), payment(other), claim(), claim(other)])).resolves.toBeUndefined();
  });

  it('places the entries of a writer that does not, as the version before', async () => {
    await db.query(balanced());
    const { rows } = await db.query(
      `SELECT DISTINCT e.log_position = c.xid_base + pg_current_xact_id()::text::bigint AS placed
       FROM ledger_entries e, ledger_closing c`,
    );
    expect(rows).toEqual([{ placed: true }]);
  });
});
