import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Reversals, and the keys that they closed before any request arrived under them. */
export class Reversals1764500000000 implements MigrationInterface {
  name = 'Reversals1764500000000';

  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE reversals (
        merchant_id     uuid        NOT NULL,
        reversal_id     uuid        NOT NULL,
        idempotency_key text        NOT NULL,
        claim_id        uuid        NOT NULL,
        fingerprint     text        NOT NULL,
        reversed_key    text        NOT NULL,
        status          text        NOT NULL,
        outcome         text,
        transaction_id  uuid,
        failure_code    text,
        failure_message text,
        created_at      timestamptz NOT NULL,
        updated_at      timestamptz NOT NULL,
        CONSTRAINT reversals_pkey PRIMARY KEY (merchant_id, reversal_id),
        CONSTRAINT reversals_idempotency_key UNIQUE (merchant_id, idempotency_key),
        CONSTRAINT reversals_status CHECK (status IN ('pending', 'completed', 'failed')),
        CONSTRAINT reversals_outcome CHECK (
          (status = 'completed') = (outcome IS NOT NULL)
          AND outcome IN ('prevented', 'failed', 'canceled', 'refunded')),
        CONSTRAINT reversals_failure CHECK ((status = 'failed') = (failure_code IS NOT NULL))
      )`);
    await db.query(
      `COMMENT ON TABLE reversals IS 'The wish that what was asked for under reversed_key has not happened, and how that was brought about'`,
    );
    await db.query('ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_status');
    await db.query(`
      ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_status
        CHECK (status IN ('in_progress', 'completed', 'released', 'reversed'))`);
    await db.query(
      `CREATE INDEX payments_closed_by ON payments (merchant_id, closed_by_key) WHERE closed_by_key IS NOT NULL`,
    );
  }

  /** Refuses to run while a reversal keeps a key closed: without its row, a late request under the key would charge. */
  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP INDEX payments_closed_by');
    await db.query('ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_status');
    await db.query(`
      ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_status
        CHECK (status IN ('in_progress', 'completed', 'released'))`);
    await db.query('DROP TABLE reversals');
  }
}
