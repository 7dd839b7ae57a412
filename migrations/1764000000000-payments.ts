import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How many distinct values a column has, as pg_statistic counts: 1 for one merchant, -1 if every row has its own. */
const DISTINCT_VALUES = [
  ['idempotency_keys', 'merchant_id', 1],
  ['idempotency_keys', 'idempotency_key', -1],
  ['payments', 'merchant_id', 1],
  ['payments', 'transaction_id', -1],
  ['payments', 'idempotency_key', -1],
  ['ledger_entries', 'merchant_id', 1],
  ['ledger_entries', 'ledger_transaction_id', -0.5],
  ['events', 'merchant_id', 1],
  ['events', 'event_id', -1],
] as const;

/**
 * The first schema. Every key and unique index begins with merchant_id. No table that a charge writes has a foreign key
 * to merchants: the check would lock one hot row for every payment, and merchants are never deleted.
 */
export class Payments1764000000000 implements MigrationInterface {
  name = 'Payments1764000000000';

  async up(db: QueryRunner): Promise<void> {
    await this.createTenants(db);
    await this.createIdempotencyKeys(db);
    await this.createPayments(db);
    await this.createLedger(db);
    await this.createEvents(db);
    await this.tellThePlanner(db);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE events, ledger_entries, payments, idempotency_keys, api_keys, merchants');
    await db.query('DROP FUNCTION refuse_change, refuse_unbalanced_ledger_transaction');
  }

  /**
   * Statistics for tables without rows. By default the planner assumes 200 merchants, and while the table is small, an
   * index prefix of merchant_id alone looks as good as the whole key. Such a plan is kept until the first ANALYZE, and
   * reads all of a merchant's rows for every item of a group. Only PostgreSQL 18 and later accept statistics; older
   * versions plan well after their first autovacuum.
   */
  private async tellThePlanner(db: QueryRunner): Promise<void> {
    const [{ known }] = (await db.query(
      `SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'pg_restore_attribute_stats') AS known`,
    )) as [{ known: boolean }];
    if (!known) return;
    for (const [table, column, distinct] of DISTINCT_VALUES) {
      await db.query(
        `SELECT pg_restore_attribute_stats('schemaname', current_schema()::text, 'relname', $1::text,
           'attname', $2::text, 'inherited', false, 'null_frac', 0::real, 'avg_width', 16, 'n_distinct', $3::real)`,
        [table, column, distinct],
      );
    }
  }

  private async createTenants(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE merchants (
        merchant_id uuid        CONSTRAINT merchants_pkey PRIMARY KEY,
        name        text        NOT NULL,
        created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
      )`);
    await db.query(`COMMENT ON TABLE merchants IS 'The tenants: every other row belongs to one'`);
    await db.query(`
      CREATE TABLE api_keys (
        api_key_id   uuid        CONSTRAINT api_keys_pkey PRIMARY KEY,
        merchant_id  uuid        NOT NULL CONSTRAINT api_keys_merchant REFERENCES merchants,
        key_hash     bytea       NOT NULL CONSTRAINT api_keys_hash UNIQUE,
        key_prefix   text        NOT NULL,
        sandbox_only boolean     NOT NULL DEFAULT false,
        created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at   timestamptz,
        revoked_at   timestamptz
      )`);
    await db.query(
      `COMMENT ON TABLE api_keys IS 'Who may act for a merchant; only the SHA-256 of a key is kept'`,
    );
  }

  private async createIdempotencyKeys(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE idempotency_keys (
        merchant_id           uuid        NOT NULL,
        idempotency_key       text        NOT NULL,
        claim_id              uuid        NOT NULL,
        operation             text        NOT NULL,
        fingerprint           text        NOT NULL,
        resource_id           uuid        NOT NULL,
        status                text        NOT NULL,
        attempt               integer     NOT NULL,
        resumed               boolean     NOT NULL DEFAULT false,
        lease_expires_at      timestamptz NOT NULL,
        response_status       smallint,
        response_content_type text,
        response_location     text,
        response_body         text,
        created_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
        expires_at            timestamptz,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (merchant_id, idempotency_key),
        CONSTRAINT idempotency_keys_key_length CHECK (length(idempotency_key) BETWEEN 1 AND 255),
        CONSTRAINT idempotency_keys_status CHECK (status IN ('in_progress', 'completed', 'released')),
        CONSTRAINT idempotency_keys_attempt CHECK (attempt >= 1),
        CONSTRAINT idempotency_keys_answer CHECK (
          (status = 'completed') =
          (response_status IS NOT NULL AND response_content_type IS NOT NULL AND response_body IS NOT NULL
            AND expires_at IS NOT NULL))
      )`);
    await db.query(
      `CREATE INDEX idempotency_keys_lease ON idempotency_keys (lease_expires_at) WHERE status = 'in_progress'`,
    );
    await db.query(
      `CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at) WHERE status <> 'in_progress'`,
    );
    await db.query(
      `COMMENT ON TABLE idempotency_keys IS 'Claims: who runs an operation under which lease, and later the bytes that were answered. Rows live as long as the stored response; payments keeps the key for ever'`,
    );
  }

  private async createPayments(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE payments (
        merchant_id       uuid        NOT NULL,
        transaction_id    uuid        NOT NULL,
        idempotency_key   text        NOT NULL,
        claim_id          uuid        NOT NULL,
        fingerprint       text        NOT NULL,
        user_id           uuid,
        amount            bigint      NOT NULL,
        amount_captured   bigint      NOT NULL DEFAULT 0,
        amount_refunded   bigint      NOT NULL DEFAULT 0,
        currency          text        NOT NULL,
        status            text        NOT NULL,
        payment_method    text        NOT NULL,
        capture_method    text        NOT NULL,
        description       text,
        metadata          jsonb       NOT NULL DEFAULT '{}',
        failure_code      text,
        failure_message   text,
        gateway_reference text,
        event_sequence    integer     NOT NULL DEFAULT 0,
        created_at        timestamptz NOT NULL,
        updated_at        timestamptz NOT NULL,
        CONSTRAINT payments_pkey PRIMARY KEY (merchant_id, transaction_id),
        CONSTRAINT payments_idempotency_key UNIQUE (merchant_id, idempotency_key),
        CONSTRAINT payments_amount CHECK (amount BETWEEN 1 AND 999999999999),
        CONSTRAINT payments_limits CHECK (
          0 <= amount_refunded AND amount_refunded <= amount_captured AND amount_captured <= amount),
        CONSTRAINT payments_currency CHECK (currency ~ '^[A-Z]{3}$'),
        CONSTRAINT payments_status CHECK (status IN ('pending', 'authorized', 'completed', 'failed', 'canceled')),
        CONSTRAINT payments_capture_method CHECK (capture_method IN ('automatic', 'manual')),
        CONSTRAINT payments_captured CHECK (status = 'completed' OR amount_captured = 0),
        CONSTRAINT payments_failure CHECK ((status = 'failed') = (failure_code IS NOT NULL))
      ) WITH (fillfactor = 80)`);
    await db.query(
      `CREATE INDEX payments_user ON payments (merchant_id, user_id, transaction_id) WHERE user_id IS NOT NULL`,
    );
    await db.query(
      `COMMENT ON TABLE payments IS 'One row a charge, keyed on the idempotency key for ever: a duplicate finds the original here after its stored response is gone'`,
    );
  }

  private async createLedger(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE ledger_entries (
        merchant_id           uuid        NOT NULL,
        ledger_transaction_id uuid        NOT NULL,
        posting               smallint    NOT NULL,
        transaction_id        uuid        NOT NULL,
        account               text        NOT NULL,
        currency              text        NOT NULL,
        amount                bigint      NOT NULL,
        created_at            timestamptz NOT NULL,
        CONSTRAINT ledger_entries_pkey PRIMARY KEY (merchant_id, ledger_transaction_id, posting),
        CONSTRAINT ledger_entries_account CHECK (account IN ('gateway_receivable', 'merchant_payable')),
        CONSTRAINT ledger_entries_amount CHECK (amount <> 0)
      )`);
    await db.query(
      `COMMENT ON TABLE ledger_entries IS 'Double entry, append-only: what each settled operation owes and is owed; debits positive, credits negative'`,
    );
    await db.query(`
      CREATE FUNCTION refuse_unbalanced_ledger_transaction() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF EXISTS (
          SELECT FROM ledger_entries e
          WHERE e.merchant_id = NEW.merchant_id AND e.ledger_transaction_id = NEW.ledger_transaction_id
          GROUP BY e.currency HAVING sum(e.amount) <> 0
        ) THEN
          RAISE EXCEPTION 'ledger transaction % does not sum to zero', NEW.ledger_transaction_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balanced';
        END IF;
        RETURN NULL;
      END $$`);
    await db.query(`
      CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT ON ledger_entries
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_unbalanced_ledger_transaction()`);
    await db.query(`
      CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
      END $$`);
    await db.query(`
      CREATE TRIGGER ledger_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
      FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()`);
  }

  private async createEvents(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE events (
        merchant_id    uuid        NOT NULL,
        event_id       uuid        NOT NULL,
        type           text        NOT NULL,
        transaction_id uuid        NOT NULL,
        sequence       integer     NOT NULL,
        resource       json        NOT NULL,
        created_at     timestamptz NOT NULL,
        CONSTRAINT events_pkey PRIMARY KEY (merchant_id, event_id),
        CONSTRAINT events_sequence UNIQUE (merchant_id, transaction_id, sequence)
      )`);
    await db.query(
      `COMMENT ON TABLE events IS 'The outbox: what happened, in the transaction in which it happened'`,
    );
  }
}
