import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What balances need: the order in which entries were written, books closed up to a point, and snapshots. */
export class Balances1764600000000 implements MigrationInterface {
  name = 'Balances1764600000000';

  async up(db: QueryRunner): Promise<void> {
    // A constant default rewrites no row. Existing entries get 0, which is before all others.
    await db.query('ALTER TABLE ledger_entries ADD COLUMN log_position bigint NOT NULL DEFAULT 0');
    await db.query('CREATE INDEX ledger_entries_log_position ON ledger_entries (merchant_id, log_position)');
    await db.query('CREATE INDEX ledger_entries_payment ON ledger_entries (merchant_id, transaction_id)');
    await this.createClosing(db);
    await this.createSnapshots(db);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TRIGGER ledger_entries_place ON ledger_entries');
    await db.query('DROP FUNCTION place_ledger_entry');
    await db.query('DROP TABLE ledger_snapshots, ledger_closing');
    await db.query('DROP INDEX ledger_entries_log_position, ledger_entries_payment');
    await db.query('ALTER TABLE ledger_entries DROP COLUMN log_position');
  }

  private async createClosing(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE ledger_closing (
        only_row     boolean NOT NULL DEFAULT true CONSTRAINT ledger_closing_pkey PRIMARY KEY,
        xid_base     bigint  NOT NULL DEFAULT 0,
        closed_below bigint  NOT NULL DEFAULT 1,
        CONSTRAINT ledger_closing_only_row CHECK (only_row)
      )`);
    await db.query(
      `COMMENT ON TABLE ledger_closing IS 'One row: below closed_below no entry can be added any more, which is what a snapshot rests on'`,
    );
    await db.query('INSERT INTO ledger_closing DEFAULT VALUES');
    // A trigger rather than a default, so that no INSERT can choose a place. It takes no lock: it only reads the one
    // row, by its index because the service's connections have sequential scans switched off.
    await db.query(`
      CREATE FUNCTION place_ledger_entry() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE
        closed bigint;
      BEGIN
        SELECT c.xid_base + pg_current_xact_id()::text::bigint, c.closed_below INTO NEW.log_position, closed
        FROM ledger_closing c WHERE c.only_row;
        IF NEW.log_position < closed THEN
          RAISE EXCEPTION 'the books are closed below %, and this entry would be at %', closed, NEW.log_position
            USING ERRCODE = 'serialization_failure',
              HINT = 'This database came from another server, whose transactions had higher numbers. The service reopens the books by itself when it starts, and within a minute while it runs.';
        END IF;
        RETURN NEW;
      END $$`);
    await db.query(`
      CREATE TRIGGER ledger_entries_place BEFORE INSERT ON ledger_entries
      FOR EACH ROW EXECUTE FUNCTION place_ledger_entry()`);
  }

  private async createSnapshots(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE ledger_snapshots (
        merchant_id uuid        NOT NULL,
        horizon     bigint      NOT NULL,
        account     text        NOT NULL,
        currency    text        NOT NULL,
        balance     numeric     NOT NULL,
        entries     bigint      NOT NULL,
        created_at  timestamptz NOT NULL,
        CONSTRAINT ledger_snapshots_pkey PRIMARY KEY (merchant_id, horizon, account, currency)
      )`);
    await db.query(
      `COMMENT ON TABLE ledger_snapshots IS 'Sums of all entries of a merchant below a horizon, so that a balance need not read them again'`,
    );
    await db.query(`
      INSERT INTO ledger_snapshots (merchant_id, horizon, account, currency, balance, entries, created_at)
      SELECT merchant_id, 1, account, currency, sum(amount), count(*), clock_timestamp()
      FROM ledger_entries GROUP BY merchant_id, account, currency`);
  }
}
