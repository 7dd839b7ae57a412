import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * What a payment needs after its charge: the claim that holds it, the key that ended its authorization, its refunds.
 */
export class Refunds1764100000000 implements MigrationInterface {
  name = 'Refunds1764100000000';

  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      ALTER TABLE payments
        ADD COLUMN held_by uuid,
        ADD COLUMN held_amount bigint,
        ADD COLUMN closed_by_key text,
        ADD COLUMN closed_by_fingerprint text,
        ADD CONSTRAINT payments_held CHECK (
          (held_by IS NULL) = (held_amount IS NULL) AND (held_by IS NULL OR status = 'authorized')),
        ADD CONSTRAINT payments_closed CHECK ((closed_by_key IS NULL) = (closed_by_fingerprint IS NULL))`);
    await db.query(`
      CREATE TABLE refunds (
        merchant_id       uuid        NOT NULL,
        refund_id         uuid        NOT NULL,
        transaction_id    uuid        NOT NULL,
        idempotency_key   text        NOT NULL,
        claim_id          uuid        NOT NULL,
        fingerprint       text        NOT NULL,
        amount            bigint      NOT NULL,
        currency          text        NOT NULL,
        status            text        NOT NULL,
        reason            text,
        failure_code      text,
        failure_message   text,
        gateway_reference text,
        created_at        timestamptz NOT NULL,
        updated_at        timestamptz NOT NULL,
        CONSTRAINT refunds_pkey PRIMARY KEY (merchant_id, refund_id),
        CONSTRAINT refunds_idempotency_key UNIQUE (merchant_id, idempotency_key),
        CONSTRAINT refunds_amount CHECK (amount BETWEEN 1 AND 999999999999),
        CONSTRAINT refunds_status CHECK (status IN ('pending', 'completed', 'failed')),
        CONSTRAINT refunds_failure CHECK ((status = 'failed') = (failure_code IS NOT NULL))
      )`);
    await db.query('CREATE INDEX refunds_payment ON refunds (merchant_id, transaction_id, refund_id)');
    await db.query(
      `COMMENT ON TABLE refunds IS 'One row a refund. Those that are not failed sum to amount_refunded of their payment'`,
    );
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE refunds');
    await db.query(`
      ALTER TABLE payments
        DROP CONSTRAINT payments_held,
        DROP CONSTRAINT payments_closed,
        DROP COLUMN held_by,
        DROP COLUMN held_amount,
        DROP COLUMN closed_by_key,
        DROP COLUMN closed_by_fingerprint`);
  }
}
