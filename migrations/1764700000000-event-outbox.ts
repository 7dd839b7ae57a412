import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How many distinct values a column has, as pg_statistic counts: see the first migration. */
const DISTINCT_VALUES = [
  ['sink', 1],
  ['merchant_id', 1],
  ['event_id', -1],
  ['transaction_id', -1],
] as const;

/** The events that are still to be delivered, one row per sink, and an index for listing events of rare types. */
export class EventOutbox1764700000000 implements MigrationInterface {
  name = 'EventOutbox1764700000000';

  async up(db: QueryRunner): Promise<void> {
    // Every row is updated once and deleted soon after. Free space in its page keeps the update out of the indexes.
    await db.query(`
      CREATE TABLE event_outbox (
        sink           text        NOT NULL,
        event_id       uuid        NOT NULL,
        merchant_id    uuid        NOT NULL,
        transaction_id uuid        NOT NULL,
        sequence       integer     NOT NULL,
        attempts       integer     NOT NULL DEFAULT 0,
        lease_id       uuid,
        lease_until    timestamptz,
        CONSTRAINT event_outbox_pkey PRIMARY KEY (sink, event_id),
        CONSTRAINT event_outbox_sequence UNIQUE (sink, merchant_id, transaction_id, sequence)
      ) WITH (fillfactor = 60)`);
    await db.query(
      `COMMENT ON TABLE event_outbox IS 'Events that a sink has not taken yet: written with the event, deleted when the sink has it'`,
    );
    await db.query(`COMMENT ON TABLE events IS 'What happened, in the transaction in which it happened'`);
    // Most events are completed payments. A list of those finds them without this index, and their charges do not pay
    // for it.
    await db.query(
      `CREATE INDEX events_rare_type ON events (merchant_id, type, event_id) WHERE type <> 'payment.completed'`,
    );
    await this.tellThePlanner(db);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP INDEX events_rare_type');
    await db.query('DROP TABLE event_outbox');
    await db.query(
      `COMMENT ON TABLE events IS 'The outbox: what happened, in the transaction in which it happened'`,
    );
  }

  /** The table is nearly empty whenever it is analyzed, and full just when plans matter. */
  private async tellThePlanner(db: QueryRunner): Promise<void> {
    const [{ known }] = (await db.query(
      `SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'pg_restore_attribute_stats') AS known`,
    )) as [{ known: boolean }];
    if (!known) return;
    for (const [column, distinct] of DISTINCT_VALUES) {
      await db.query(
        `SELECT pg_restore_attribute_stats('schemaname', current_schema()::text, 'relname', 'event_outbox',
           'attname', $1::text, 'inherited', false, 'null_frac', 0::real, 'avg_width', 16, 'n_distinct', $2::real)`,
        [column, distinct],
      );
    }
  }
}
