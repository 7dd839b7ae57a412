import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Keys for requests that send none, and answer lifetimes chosen by the route. */
export class DerivedKeys1764150000000 implements MigrationInterface {
  name = 'DerivedKeys1764150000000';

  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE derived_keys (
        merchant_id   uuid        NOT NULL,
        fingerprint   text        NOT NULL,
        first_seen_at timestamptz NOT NULL,
        CONSTRAINT derived_keys_pkey PRIMARY KEY (merchant_id, fingerprint)
      )`);
    await db.query('CREATE INDEX derived_keys_age ON derived_keys (first_seen_at)');
    await db.query(
      `COMMENT ON TABLE derived_keys IS 'When a request without a key was first seen: within the window, one like it is its retry'`,
    );
    await db.query('ALTER TABLE idempotency_keys ADD COLUMN lifetime_ms bigint');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('ALTER TABLE idempotency_keys DROP COLUMN lifetime_ms');
    await db.query('DROP TABLE derived_keys');
  }
}
