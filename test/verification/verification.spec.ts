import type { QueryRunner } from 'typeorm';
import { DataSource } from 'typeorm';
import { PipelinedTransactions } from '../../src/database/pipelined-transactions.js';
import { SnapshotWorker } from '../../src/ledger/snapshot.worker.js';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';
import { CHECKS } from '../../src/verification/checks.js';
import { AUTOMATIC, MANUAL, post } from '../support/api.js';
import { expectVerified } from '../support/evidence.js';
import { AT_ONCE, untilBooksAreClosed } from '../support/ledger.js';
import { TestApp } from '../support/test-app.js';

/** What an intruder or a bug does, and how many rows each check finds. */
interface Damage {
  what: string;
  sql: string[];
  found: Record<string, number>;
}

const ids = {
  completed: '',
  refunded: '',
  captured: '',
  canceled: '',
  declined: '',
  pending: '',
  authorized: '',
  refund: '',
  /** The payment whose refund was declined. */
  unlucky: '',
};

const of = (name: keyof typeof ids): string => `transaction_id = '<${name}>'`;
const NOBODY = '00000000-0000-7000-8000-00000000dead';

/** The database would refuse most of the damage. Only the trigger that sets an entry's place stays on. */
const WITHOUT_GUARDS = [
  'ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_place',
  "SET LOCAL session_replication_role = 'replica'",
];

const DAMAGES: Damage[] = [
  {
    what: 'a third side of a ledger transfer',
    sql: [
      `INSERT INTO ledger_entries (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at)
      SELECT merchant_id, ledger_transaction_id, 3, transaction_id, account, currency, 1, created_at
      FROM ledger_entries WHERE ${of('completed')} AND posting = 2`,
    ],
    found: { 'ledger.balanced': 1, 'ledger.payments': 1, 'ledger.balances': 1 },
  },
  {
    what: 'a transfer booked on another payment',
    sql: [`UPDATE ledger_entries SET transaction_id = '<completed>' WHERE ${of('captured')}`],
    found: { 'ledger.payments': 2 },
  },
  {
    what: 'a transfer in another currency',
    sql: [`UPDATE ledger_entries SET currency = 'USD' WHERE ${of('completed')}`],
    found: { 'ledger.payments': 2, 'ledger.snapshots': 8 },
  },
  {
    what: 'a capture and its refund that were not booked',
    sql: [`DELETE FROM ledger_entries WHERE ${of('refunded')}`],
    found: { 'ledger.payments': 1, 'ledger.snapshots': 4 },
  },
  {
    what: 'a transfer for a payment that does not exist',
    sql: [
      `INSERT INTO ledger_entries (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at)
      SELECT merchant_id, '${NOBODY}', posting, '${NOBODY}', account, currency, amount, created_at
      FROM ledger_entries WHERE ${of('completed')}`,
    ],
    found: { 'ledger.payments': 1, 'ledger.balances': 1 },
  },
  {
    what: 'a snapshot that is wrong by one',
    sql: [
      `UPDATE ledger_snapshots SET balance = balance + 1 WHERE account = 'merchant_payable'
      AND horizon = (SELECT max(horizon) FROM ledger_snapshots)`,
    ],
    found: { 'ledger.snapshots': 1, 'ledger.balances': 1 },
  },
  {
    what: 'an old snapshot without an account',
    sql: [
      `DELETE FROM ledger_snapshots WHERE account = 'merchant_payable'
      AND horizon = (SELECT min(horizon) FROM ledger_snapshots)`,
    ],
    found: { 'ledger.snapshots': 1 },
  },
  {
    what: 'books that are open below a snapshot',
    sql: ['UPDATE ledger_closing SET closed_below = (SELECT min(horizon) FROM ledger_snapshots)'],
    found: { 'ledger.snapshots': 2 },
  },
  {
    what: 'books that are not known to be closed',
    sql: ['DELETE FROM ledger_closing'],
    found: { 'ledger.snapshots': 4 },
  },
  {
    what: 'more captured than charged',
    sql: [
      'ALTER TABLE payments DROP CONSTRAINT payments_limits',
      `UPDATE payments SET amount = 1 WHERE ${of('completed')}`,
    ],
    found: { 'payments.limits': 1 },
  },
  {
    what: 'a capture of a payment that failed',
    sql: [
      'ALTER TABLE payments DROP CONSTRAINT payments_captured',
      `UPDATE payments SET amount_captured = 1 WHERE ${of('declined')}`,
    ],
    found: { 'payments.limits': 1, 'ledger.payments': 1, 'ledger.balances': 1 },
  },
  {
    what: 'an amount refunded without a refund',
    sql: [`UPDATE payments SET amount_refunded = amount_refunded + 1 WHERE ${of('completed')}`],
    found: { 'payments.refunds': 1 },
  },
  {
    what: 'a refund of a payment that does not exist',
    sql: [`UPDATE refunds SET transaction_id = '${NOBODY}' WHERE status = 'failed'`],
    found: { 'payments.refunds': 1, 'events.settled': 2 },
  },
  {
    what: 'a refund in another currency',
    sql: [`UPDATE refunds SET currency = 'USD' WHERE status = 'failed'`],
    found: { 'payments.refunds': 1 },
  },
  {
    what: 'a key whose payment does not exist',
    sql: [
      `UPDATE idempotency_keys SET resource_id = '${NOBODY}' WHERE operation = 'charge' AND resource_id = '<completed>'`,
    ],
    found: { 'keys.completed': 1 },
  },
  {
    what: 'a key that says failed for a completed payment',
    sql: [
      `UPDATE idempotency_keys SET response_status = 402 WHERE operation = 'charge' AND resource_id = '<completed>'`,
    ],
    found: { 'keys.completed': 1 },
  },
  {
    what: 'a key that says paid for a failed payment',
    sql: [
      `UPDATE idempotency_keys SET response_status = 201 WHERE operation = 'charge' AND resource_id = '<declined>'`,
    ],
    found: { 'keys.completed': 1 },
  },
  {
    what: 'a capture attributed to another key',
    sql: [`UPDATE payments SET closed_by_key = 'another' WHERE ${of('captured')}`],
    found: { 'keys.completed': 1 },
  },
  {
    what: 'a cancel that happened but was answered as refused',
    sql: [
      `UPDATE idempotency_keys SET response_status = 409 WHERE operation = 'cancel' AND resource_id = '<canceled>'`,
    ],
    found: { 'keys.completed': 1 },
  },
  {
    what: 'a key whose refund does not exist',
    sql: [
      `UPDATE idempotency_keys SET resource_id = '${NOBODY}' WHERE operation = 'refund' AND resource_id = '<refund>'`,
    ],
    found: { 'keys.completed': 1 },
  },
  {
    what: 'a pending payment that recovery will never find',
    sql: [`DELETE FROM idempotency_keys WHERE resource_id = '<pending>'`],
    found: { 'keys.in_progress': 1 },
  },
  {
    what: 'a payment that is held forever',
    sql: [`UPDATE payments SET held_by = '${NOBODY}', held_amount = 1 WHERE ${of('authorized')}`],
    found: { 'keys.in_progress': 1 },
  },
  {
    what: 'a missing event',
    sql: [`DELETE FROM events WHERE ${of('completed')}`],
    found: { 'events.settled': 1, 'events.sequence': 1 },
  },
  {
    what: 'an event that says something else',
    sql: [`UPDATE events SET type = 'payment.failed' WHERE ${of('completed')}`],
    found: { 'events.settled': 2 },
  },
  {
    what: 'a refund whose event names another refund',
    sql: [`UPDATE events SET resource = '{"refund_id":"${NOBODY}"}' WHERE type = 'refund.completed'`],
    found: { 'events.settled': 2 },
  },
  {
    what: 'an event that exists twice',
    sql: [
      `INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
       SELECT merchant_id, '${NOBODY}', type, transaction_id, 2, resource, created_at FROM events WHERE ${of('completed')}`,
      `UPDATE payments SET event_sequence = 2 WHERE ${of('completed')}`,
    ],
    found: { 'events.settled': 1 },
  },
  {
    what: 'a gap between events',
    sql: [`UPDATE events SET sequence = 9 WHERE type = 'payment.canceled'`],
    found: { 'events.sequence': 1 },
  },
  {
    what: 'a counter that is ahead of its events',
    sql: [`UPDATE payments SET event_sequence = event_sequence + 1 WHERE ${of('completed')}`],
    found: { 'events.sequence': 1 },
  },
];

describe('verify', () => {
  let service: TestApp;
  let db: QueryRunner;

  beforeAll(async () => {
    service = await TestApp.start({ GATEWAY_TIMEOUT: '300ms' });
    // Pending payments stay pending.
    service.app.get(RecoveryWorker).runOnce = () => Promise.resolve(0);
    const target = { baseUrl: await service.app.getUrl() };
    const made = async (path: string, body?: object): Promise<string> => {
      const { json } = await post(target, `/v1/payments${path}`, body === undefined ? {} : { body });
      return String(json['refund_id'] ?? json['transaction_id']);
    };
    ids.completed = await made('', AUTOMATIC);
    ids.refunded = await made('', { ...AUTOMATIC, amount: 700 });
    ids.captured = await made('', { ...MANUAL, amount: 300 });
    ids.canceled = await made('', MANUAL);
    ids.authorized = await made('', MANUAL);
    ids.declined = await made('', { ...AUTOMATIC, payment_method: 'pm_card_declined' });
    ids.unlucky = await made('', { ...AUTOMATIC, payment_method: 'pm_card_refund_declined' });
    ids.pending = await made('', { ...AUTOMATIC, payment_method: 'pm_gateway_timeout_after_charge' });
    await made(`/${ids.captured}/capture`, { amount: 200 });
    await made(`/${ids.canceled}/cancel`);
    await made(`/${ids.canceled}/capture`);
    ids.refund = await made(`/${ids.refunded}/refunds`, {});
    await made(`/${ids.refunded}/refunds`, {});
    await made(`/${ids.unlucky}/refunds`, { amount: 1 });
    await snapshot();
    await made('', { ...AUTOMATIC, amount: 5 });
    await snapshot();
    db = service.app.get(DataSource).createQueryRunner();
  });
  afterAll(async () => {
    await db.release();
    await service.stop();
  });

  async function snapshot(): Promise<void> {
    await untilBooksAreClosed(service.app.get(PipelinedTransactions));
    await service.app.get(SnapshotWorker).runOnce(AT_ONCE);
  }

  it('finds nothing in books that agree, even while operations are in progress', async () => {
    await expectVerified(service.evidence);
    const rows = async (sql: string) => (await service.evidence.query(sql)).length;
    expect(await rows('SELECT DISTINCT status FROM payments')).toBe(5);
    expect(await rows('SELECT DISTINCT status FROM refunds')).toBe(2);
    expect(await rows('SELECT DISTINCT horizon FROM ledger_snapshots')).toBe(2);
  });

  it.each(DAMAGES)('finds $what, and nothing else', async ({ sql, found }) => {
    await db.startTransaction();
    try {
      for (const statement of [...WITHOUT_GUARDS, ...sql]) {
        await db.query(statement.replaceAll(/<(\w+)>/g, (_, name: keyof typeof ids) => ids[name]));
      }
      const broken: Record<string, number> = {};
      for (const { name, sql: check } of CHECKS) {
        const rows = (await db.query(check)) as unknown[];
        if (rows.length > 0) broken[name] = rows.length;
      }
      expect(broken).toEqual(found);
    } finally {
      await db.rollbackTransaction();
    }
  });

  it('shows the first twenty rows of a check and says that there are more', async () => {
    await service.evidence.query(`
      INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
      SELECT gen_random_uuid(), gen_random_uuid(), 'payment.completed', gen_random_uuid(), 1, '{}', now()
      FROM generate_series(1, 21)`);
    const settled = (await service.evidence.verify()).find(({ name }) => name === 'events.settled');
    expect([settled?.broken.length, settled?.more]).toEqual([20, true]);
    await service.evidence.query(`DELETE FROM events WHERE resource::text = '{}'`);
    await expectVerified(service.evidence);
  });

  it('raises no false alarm while charges, refunds and recovery run', async () => {
    const load = { running: true };
    const target = { baseUrl: await service.app.getUrl() };
    const client = async (): Promise<void> => {
      while (load.running) {
        const { json } = await post(target, '/v1/payments', { body: AUTOMATIC });
        await post(target, `/v1/payments/${String(json['transaction_id'])}/refunds`, {
          body: { amount: 10 },
        });
      }
    };
    const clients = Array.from({ length: 6 }, client);
    try {
      for (let n = 0; n < 12; n += 1) {
        const alarms = (await service.evidence.verify()).filter(({ broken }) => broken.length > 0);
        expect(alarms).toEqual([]);
        await service.app.get(SnapshotWorker).runOnce(AT_ONCE);
      }
    } finally {
      load.running = false;
      await Promise.all(clients);
    }
    await expectVerified(service.evidence);
  });
});
