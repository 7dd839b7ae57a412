import type { MigrationInterface, QueryRunner } from 'typeorm';
import { changeOnline, createIndexOnline } from '../src/database/online-ddl.js';

/**
 * None of them may contain a column, even in its condition, that a charge changes when it succeeds: such an update would
 * have to touch all indexes of the table.
 */
const INDEXES: readonly (readonly [name: string, definition: string])[] = [
  ['payments_by_currency', 'payments (merchant_id, currency, transaction_id)'],
  ['payments_failed', 'payments (merchant_id, transaction_id, currency) WHERE failure_code IS NOT NULL'],
  [
    'payments_authorized',
    `payments (merchant_id, transaction_id, currency)
       WHERE capture_method = 'manual' AND closed_by_key IS NULL AND failure_code IS NULL`,
  ],
  ['events_canceled', `events (merchant_id, transaction_id) WHERE type = 'payment.canceled'`],
  ['webhook_endpoints_enabled', 'webhook_endpoints (merchant_id) WHERE enabled'],
];

const FILLFACTOR = 50;
const FILLFACTOR_BEFORE = 80;

/**
 * Indexes for lists that show few of very many payments. They are built while charges run, and the version before may
 * run beside this one.
 */
export class Lists1765100000000 implements MigrationInterface {
  name = 'Lists1765100000000';
  readonly transaction = false;

  async up(db: QueryRunner): Promise<void> {
    for (const [name, definition] of INDEXES) await createIndexOnline(db, name, definition);
    // A group settles all payments of a page in one transaction, so the page must have room for a second version of each.
    await changeOnline(db, [`ALTER TABLE payments SET (fillfactor = ${FILLFACTOR})`]);
  }

  async down(db: QueryRunner): Promise<void> {
    await changeOnline(db, [
      `ALTER TABLE payments SET (fillfactor = ${FILLFACTOR_BEFORE})`,
      ...INDEXES.map(([name]) => `DROP INDEX ${name}`),
    ]);
  }
}
