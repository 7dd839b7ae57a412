import type { MigrationInterface, QueryRunner } from 'typeorm';
import { changeOnline, createIndexOnline } from '../src/database/online-ddl.js';

const INDEXES = [
  ['payments_gateway_key', 'payments'],
  ['refunds_gateway_key', 'refunds'],
] as const;

/**
 * Gateway keys as values of their own, and when the database has lost its tail.
 *
 * The version before may run beside this one. It takes `claim_id` of a payment or refund for the gateway key, so that
 * column carries the gateway key, under the name that it has always had. It takes `claim_id` of a capture's or cancel's
 * claim for it, looks calls up by ids that are no longer sent, and would call a call absent that it cannot find. So the
 * trigger keeps it from taking such a claim over: see {@link createTakeOverGuard}.
 */
export class GatewayKeys1765000000000 implements MigrationInterface {
  name = 'GatewayKeys1765000000000';

  /** An index cannot be built CONCURRENTLY in a transaction. So each step can be repeated if a later one fails. */
  transaction = false;

  async up(db: QueryRunner): Promise<void> {
    await changeOnline(db, [
      `ALTER TABLE idempotency_keys
         ADD COLUMN IF NOT EXISTS gateway_key uuid,
         ADD COLUMN IF NOT EXISTS gateway_key_taken boolean,
         ADD COLUMN IF NOT EXISTS known_attempt integer`,
      ...this.createTakeOverGuard(),
    ]);
    await changeOnline(db, [
      'ALTER TABLE payments ADD COLUMN IF NOT EXISTS closed_by_gateway_key uuid',
      `COMMENT ON COLUMN payments.claim_id IS 'The gateway key of the charge; until there were gateway keys, the id of the claim that made the payment'`,
      `COMMENT ON COLUMN payments.held_by IS 'The gateway key of the capture or cancel in progress; in older rows the id of its claim'`,
    ]);
    await changeOnline(db, [
      `COMMENT ON COLUMN refunds.claim_id IS 'The gateway key of the refund; until there were gateway keys, the id of the claim that made it'`,
    ]);
    await changeOnline(db, ['ALTER TABLE reversals ADD COLUMN IF NOT EXISTS steps_key uuid']);
    await db.query(`
      CREATE TABLE IF NOT EXISTS restores (
        restored_at timestamptz NOT NULL CONSTRAINT restores_pkey PRIMARY KEY,
        lost_since  timestamptz NOT NULL,
        ends_at     timestamptz NOT NULL,
        CONSTRAINT restores_order CHECK (lost_since < restored_at AND restored_at <= ends_at)
      )`);
    await db.query(
      `COMMENT ON TABLE restores IS 'When an operator said that the database had lost what was committed since a time. Until it ends, first calls look up first'`,
    );
    for (const [index, table] of INDEXES) {
      await createIndexOnline(db, index, `${table} (claim_id)`);
    }
  }

  async down(db: QueryRunner): Promise<void> {
    const [open] = (await db.query(`
      SELECT count(*)::int AS claims FROM idempotency_keys
      WHERE status = 'in_progress' AND gateway_key IS NOT NULL`)) as [{ claims: number }];
    if (open.claims > 0) {
      throw new Error(
        `${open.claims} operations are in progress under derived gateway keys, and an older version would ask the ` +
          'gateway again under other keys: let this version end them first',
      );
    }
    for (const [index] of INDEXES) await db.query(`DROP INDEX ${index}`);
    await db.query('DROP TABLE restores');
    await db.query('ALTER TABLE reversals DROP COLUMN steps_key');
    await db.query('COMMENT ON COLUMN refunds.claim_id IS NULL');
    await db.query('COMMENT ON COLUMN payments.held_by IS NULL');
    await db.query('COMMENT ON COLUMN payments.claim_id IS NULL');
    await db.query('ALTER TABLE payments DROP COLUMN closed_by_gateway_key');
    await db.query('DROP TRIGGER idempotency_keys_take_over ON idempotency_keys');
    await db.query('DROP FUNCTION skip_take_over');
    await db.query(`
      ALTER TABLE idempotency_keys
        DROP COLUMN known_attempt,
        DROP COLUMN gateway_key_taken,
        DROP COLUMN gateway_key`);
  }

  /**
   * Skips the row when a process takes over a call under a derived key and does not know such keys: it leaves
   * `known_attempt` behind. To that process the claim looks as if somebody worked on it. A new claim is inserted, and
   * settling changes no attempt, so neither meets the trigger. Once no process of the version before can run, it can go,
   * and `known_attempt` with it.
   */
  private createTakeOverGuard(): string[] {
    return [
      `CREATE OR REPLACE FUNCTION skip_take_over() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
      `CREATE OR REPLACE TRIGGER idempotency_keys_take_over
         BEFORE UPDATE OF attempt ON idempotency_keys FOR EACH ROW
         WHEN (OLD.status = 'in_progress' AND OLD.gateway_key IS NOT NULL AND NEW.attempt <> OLD.attempt
           AND NEW.known_attempt IS DISTINCT FROM NEW.attempt)
         EXECUTE FUNCTION skip_take_over()`,
    ];
  }
}
