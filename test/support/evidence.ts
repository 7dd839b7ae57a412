import { join } from 'node:path';
import { Pool } from 'pg';
import { SandboxBooks, type RecordedCall } from '../../src/gateways/sandbox/sandbox-books.js';
import { verify, type CheckResult } from '../../src/verification/verification.js';
import { AMOUNT } from './client.js';

export interface PaymentRow {
  transaction_id: string;
  /** Its gateway key. */
  claim_id: string;
  status: string;
  amount: string;
  amount_captured: string;
  gateway_reference: string | null;
}

interface ClaimRow {
  claim_id: string;
  gateway_key: string | null;
  status: string;
  attempt: number;
  lease_expired: boolean;
}

/** What really happened, according to the database and the gateway's own books, never to an answer. */
export class Evidence {
  private readonly pool: Pool;
  private readonly books: SandboxBooks;

  constructor(databaseUrl: string, dataDir: string) {
    this.pool = new Pool({ connectionString: databaseUrl, max: 2 });
    // A stopped server ends idle connections; the next query opens new ones.
    this.pool.on('error', () => undefined);
    this.books = new SandboxBooks(join(dataDir, 'sandbox-gateway', 'books.sqlite'));
  }

  async query<Row extends object>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.pool.query<Row>(sql, values)).rows;
  }

  async claim(key: string): Promise<ClaimRow | undefined> {
    const rows = await this.query<ClaimRow>(
      `SELECT claim_id, gateway_key, status, attempt, lease_expires_at <= clock_timestamp() AS lease_expired
         FROM idempotency_keys WHERE idempotency_key = $1`,
      [key],
    );
    return rows[0];
  }

  async payments(key: string): Promise<PaymentRow[]> {
    return this.query<PaymentRow>('SELECT * FROM payments WHERE idempotency_key = $1', [key]);
  }

  /** The gateway's effects of every payment made under a key. */
  async effects(key: string): Promise<RecordedCall[]> {
    const keys = new Set((await this.payments(key)).map((payment) => payment.claim_id));
    return this.books.effects().filter(({ chargeKey }) => chargeKey !== null && keys.has(chargeKey));
  }

  /** The gateway's effects of one payment. */
  async effectsOf(transactionId: string): Promise<RecordedCall[]> {
    const [payment] = await this.query<PaymentRow>('SELECT * FROM payments WHERE transaction_id = $1', [
      transactionId,
    ]);
    return this.books.effects().filter(({ chargeKey }) => chargeKey === payment?.claim_id);
  }

  /** What `npm run cli -- verify` finds. */
  async verify(): Promise<CheckResult[]> {
    const client = await this.pool.connect();
    try {
      return await verify(client);
    } finally {
      client.release();
    }
  }

  allEffects(): RecordedCall[] {
    return this.books.effects();
  }

  async close(): Promise<void> {
    this.books.close();
    await this.pool.end();
  }
}

/** One payment, one gateway effect, one final event, and two postings that sum to zero. */
export async function expectChargedOnce(evidence: Evidence, key: string): Promise<void> {
  const payments = await evidence.payments(key);
  expect(payments).toMatchObject([
    { status: 'completed', amount: `${AMOUNT}`, amount_captured: `${AMOUNT}` },
  ]);
  const [{ transaction_id: transactionId, claim_id: gatewayKey, gateway_reference: reference }] =
    payments as [PaymentRow];
  expect(await evidence.effects(key)).toMatchObject([
    {
      gatewayKey,
      kind: 'charge',
      reference,
      transactionId: null,
      amountMinor: BigInt(AMOUNT),
      currency: 'EUR',
    },
  ]);
  const events = await evidence.query<{ type: string; sequence: number }>(
    'SELECT type, sequence FROM events WHERE transaction_id = $1 ORDER BY sequence',
    [transactionId],
  );
  // The pending event is there only if the outcome was unknown for a while.
  const told = events.map(({ type }) => type);
  expect([['payment.completed'], ['payment.pending', 'payment.completed']]).toContainEqual(told);
  expect(events.map(({ sequence }) => sequence)).toEqual(told.map((_, index) => index + 1));
  expect(
    await evidence.query(
      'SELECT account, currency, amount FROM ledger_entries WHERE transaction_id = $1 ORDER BY posting',
      [transactionId],
    ),
  ).toEqual([
    { account: 'gateway_receivable', currency: 'EUR', amount: `${AMOUNT}` },
    { account: 'merchant_payable', currency: 'EUR', amount: `-${AMOUNT}` },
  ]);
}

/**
 * Compares the whole database with all of the gateway's books. Each effect belongs to exactly one settled payment, each
 * settled payment has exactly one event for it, no payment's events have a gap, each capture has exactly one balanced
 * ledger transfer, and nothing else is there. Pending payments are left out: only the gateway knows their outcome.
 * `verify` must find nothing either.
 */
export async function expectBooksToAgree(evidence: Evidence): Promise<void> {
  const open = new Set(
    (await evidence.query<PaymentRow>(`SELECT * FROM payments WHERE status = 'pending'`)).map(
      (payment) => payment.claim_id,
    ),
  );
  const taken = await evidence.query<PaymentRow>(
    `SELECT * FROM payments WHERE status IN ('completed', 'authorized') ORDER BY transaction_id`,
  );
  const effects = evidence.allEffects().filter(({ chargeKey }) => !open.has(chargeKey ?? ''));
  const byId = (a: [string, ...unknown[]], b: [string, ...unknown[]]): number => (a[0] < b[0] ? -1 : 1);
  expect(
    effects
      .map(({ chargeKey, gatewayKey, reference, amountMinor }): [string, ...unknown[]] => [
        chargeKey ?? '',
        gatewayKey,
        reference,
        String(amountMinor),
      ])
      .toSorted(byId),
  ).toEqual(
    taken
      .map((row) => [row.claim_id, row.claim_id, row.gateway_reference, row.amount])
      .toSorted(byId as never),
  );
  expect(
    await evidence.query(`
      SELECT p.transaction_id, p.status, count(DISTINCT e.event_id)::int AS events,
        count(DISTINCT l.ledger_transaction_id)::int AS ledger_transactions
      FROM payments p
      LEFT JOIN events e USING (merchant_id, transaction_id)
      LEFT JOIN ledger_entries l USING (merchant_id, transaction_id)
      GROUP BY p.merchant_id, p.transaction_id
      HAVING count(DISTINCT e.event_id) FILTER (WHERE e.type <> 'payment.pending')
          <> CASE WHEN p.status = 'pending' THEN 0 ELSE 1 END
        OR count(DISTINCT e.event_id) FILTER (WHERE e.type = 'payment.pending') > 1
        OR count(DISTINCT e.event_id) <> p.event_sequence OR coalesce(max(e.sequence), 0) <> p.event_sequence
        OR count(DISTINCT l.ledger_transaction_id) <> CASE WHEN p.amount_captured > 0 THEN 1 ELSE 0 END`),
  ).toEqual([]);
  expect(
    await evidence.query(`
      SELECT ledger_transaction_id FROM ledger_entries GROUP BY ledger_transaction_id, currency HAVING sum(amount) <> 0`),
  ).toEqual([]);
  await expectVerified(evidence);
}

/** Ledger, payments, refunds, keys and events agree, even while operations are in progress. */
export async function expectVerified(evidence: Evidence): Promise<void> {
  expect((await evidence.verify()).filter(({ broken }) => broken.length > 0)).toEqual([]);
}
