import type { MigrationInterface, QueryRunner } from 'typeorm';
import { changeOnline } from '../src/database/online-ddl.js';

/** The tables in which a later statement of a transaction looks for the rows that an earlier one wrote. */
const MARKED_TABLES = ['idempotency_keys', 'payments', 'gateway_notifications'];

/**
 * A token for each try of a transaction, in the rows that it writes; and refusals that never expire. It takes no lock
 * for longer than a moment, so charges may run meanwhile, and the version before may run beside this one: it never reads
 * the token.
 */
export class WriteTokens1764900000000 implements MigrationInterface {
  name = 'WriteTokens1764900000000';
  readonly transaction = false;

  async up(db: QueryRunner): Promise<void> {
    await changeOnline(db, [
      ...MARKED_TABLES.map((table) => `ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS write_token bigint`),
      `ALTER TABLE idempotency_keys
        DROP CONSTRAINT IF EXISTS idempotency_keys_answer,
        ADD CONSTRAINT idempotency_keys_answer CHECK (
          (status = 'completed') =
          (response_status IS NOT NULL AND response_content_type IS NOT NULL AND response_body IS NOT NULL)) NOT VALID`,
    ]);
    await db.query('ALTER TABLE idempotency_keys VALIDATE CONSTRAINT idempotency_keys_answer');
    // What was refused before this migration made nothing either that would remember it.
    await db.query(`
      UPDATE idempotency_keys SET expires_at = NULL
      WHERE status = 'completed' AND expires_at IS NOT NULL
        AND (operation IN ('capture', 'cancel') AND response_status BETWEEN 400 AND 499
          OR operation = 'refund' AND response_status = 409)`);
  }

  /** What never expires gets a day from now on, because the version before insists on a time. */
  async down(db: QueryRunner): Promise<void> {
    await changeOnline(db, [
      `UPDATE idempotency_keys SET expires_at = clock_timestamp() + interval '1 day'
        WHERE status = 'completed' AND expires_at IS NULL`,
      `ALTER TABLE idempotency_keys
        DROP CONSTRAINT idempotency_keys_answer,
        ADD CONSTRAINT idempotency_keys_answer CHECK (
          (status = 'completed') =
          (response_status IS NOT NULL AND response_content_type IS NOT NULL AND response_body IS NOT NULL
            AND expires_at IS NOT NULL))`,
      ...MARKED_TABLES.map((table) => `ALTER TABLE ${table} DROP COLUMN write_token`),
    ]);
  }
}
