import type { MigrationInterface, QueryRunner } from 'typeorm';

/** For a call with an unknown outcome: since when it is unknown, and when to inquire again. */
export class UnknownOutcomes1764300000000 implements MigrationInterface {
  name = 'UnknownOutcomes1764300000000';

  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      ALTER TABLE idempotency_keys
        ADD COLUMN unknown_since timestamptz,
        ADD COLUMN recover_after timestamptz`);
    await db.query(
      `CREATE INDEX idempotency_keys_unknown ON idempotency_keys (unknown_since)
       WHERE status = 'in_progress' AND unknown_since IS NOT NULL`,
    );
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP INDEX idempotency_keys_unknown');
    await db.query('ALTER TABLE idempotency_keys DROP COLUMN unknown_since, DROP COLUMN recover_after');
  }
}
