import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The payment providers' notifications, and an index that finds a waiting claim by its resource. */
export class GatewayNotifications1764400000000 implements MigrationInterface {
  name = 'GatewayNotifications1764400000000';

  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE gateway_notifications (
        gateway     text        NOT NULL,
        event_id    text        NOT NULL,
        type        text        NOT NULL,
        resource_id uuid        NOT NULL,
        received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT gateway_notifications_pkey PRIMARY KEY (gateway, event_id),
        CONSTRAINT gateway_notifications_event_id_length CHECK (length(event_id) BETWEEN 1 AND 255),
        CONSTRAINT gateway_notifications_type_length CHECK (length(type) BETWEEN 1 AND 255)
      )`);
    await db.query(
      'CREATE INDEX gateway_notifications_resource ON gateway_notifications (resource_id, received_at)',
    );
    await db.query('CREATE INDEX gateway_notifications_age ON gateway_notifications (received_at)');
    await db.query(
      `COMMENT ON TABLE gateway_notifications IS 'Which events of the payment provider have been acted on. It knows no merchants and nobody reads it through the API, so its keys are the provider''s'`,
    );
    // recover_after is null until a call ends without an outcome, so the claims of ordinary charges never enter this
    // index.
    await db.query(
      `CREATE INDEX idempotency_keys_waiting ON idempotency_keys (resource_id)
       WHERE status = 'in_progress' AND recover_after IS NOT NULL`,
    );
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP INDEX idempotency_keys_waiting');
    await db.query('DROP TABLE gateway_notifications');
  }
}
