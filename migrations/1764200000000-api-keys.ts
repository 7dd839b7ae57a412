import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What an API key may do, when it was last used, what replaced it, and a NOTIFY to every process when that changes. */
export class ApiKeys1764200000000 implements MigrationInterface {
  name = 'ApiKeys1764200000000';

  async up(db: QueryRunner): Promise<void> {
    // The default is for existing keys, which could do everything. A new key must list what it may do.
    await db.query(`
      ALTER TABLE api_keys
        ADD COLUMN scopes text[] NOT NULL DEFAULT '{payments:read,payments:write,refunds:write,webhooks:manage}',
        ADD COLUMN last_used_at timestamptz,
        ADD COLUMN replaced_by uuid,
        ADD CONSTRAINT api_keys_scopes CHECK (
          cardinality(scopes) > 0
          AND scopes <@ '{payments:read,payments:write,refunds:write,webhooks:manage}'::text[]),
        ADD CONSTRAINT api_keys_replaced_by FOREIGN KEY (replaced_by) REFERENCES api_keys`);
    await db.query('ALTER TABLE api_keys ALTER COLUMN scopes DROP DEFAULT');
    await db.query('CREATE INDEX api_keys_of_merchant ON api_keys (merchant_id, api_key_id)');
    await db.query(`
      CREATE FUNCTION notify_api_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        PERFORM pg_notify('hapax_api_keys', '');
        RETURN NULL;
      END $$`);
    // Only for the columns that decide access: last_used_at changes all the time.
    await db.query(`
      CREATE TRIGGER api_keys_changed
      AFTER INSERT OR DELETE OR TRUNCATE OR
        UPDATE OF merchant_id, key_hash, sandbox_only, scopes, expires_at, revoked_at ON api_keys
      FOR EACH STATEMENT EXECUTE FUNCTION notify_api_keys_changed()`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TRIGGER api_keys_changed ON api_keys');
    await db.query('DROP FUNCTION notify_api_keys_changed');
    await db.query('DROP INDEX api_keys_of_merchant');
    await db.query(`
      ALTER TABLE api_keys
        DROP CONSTRAINT api_keys_scopes,
        DROP CONSTRAINT api_keys_replaced_by,
        DROP COLUMN scopes,
        DROP COLUMN last_used_at,
        DROP COLUMN replaced_by`);
  }
}
