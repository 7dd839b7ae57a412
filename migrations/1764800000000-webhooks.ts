import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How many distinct values a column has, as pg_statistic counts: see the first migration. */
const DISTINCT_VALUES = [
  ['webhook_endpoints', 'merchant_id', -0.5],
  ['webhook_endpoints', 'webhook_endpoint_id', -1],
  ['webhook_deliveries', 'merchant_id', 1],
  ['webhook_deliveries', 'webhook_endpoint_id', 2],
  ['webhook_deliveries', 'webhook_delivery_id', -1],
  ['webhook_deliveries', 'event_id', -1],
  ['webhook_tries', 'merchant_id', 1],
  ['webhook_tries', 'webhook_delivery_id', -1],
] as const;

/** Endpoints, their deliveries and every try of each, and the schema of the queue that holds the tries. */
export class Webhooks1764800000000 implements MigrationInterface {
  name = 'Webhooks1764800000000';

  async up(db: QueryRunner): Promise<void> {
    await this.createEndpoints(db);
    await this.createDeliveries(db);
    await this.createTries(db);
    await this.tellThePlanner(db);
    await db.query(await queueConstruction());
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP SCHEMA pgboss CASCADE');
    await db.query('DROP TABLE webhook_tries, webhook_deliveries, webhook_endpoints');
  }

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

  private async createEndpoints(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE webhook_endpoints (
        merchant_id                uuid        NOT NULL,
        webhook_endpoint_id        uuid        NOT NULL,
        idempotency_key            text        NOT NULL,
        claim_id                   uuid        NOT NULL,
        fingerprint                text        NOT NULL,
        url                        text        NOT NULL,
        event_types                text[],
        description                text,
        secret                     text        NOT NULL,
        previous_secret            text,
        previous_secret_expires_at timestamptz,
        rotation_claim_id          uuid,
        enabled                    boolean     NOT NULL DEFAULT true,
        disabled_reason            text,
        failing_since              timestamptz,
        paused_until               timestamptz,
        created_at                 timestamptz NOT NULL,
        updated_at                 timestamptz NOT NULL,
        deleted_at                 timestamptz,
        CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (merchant_id, webhook_endpoint_id),
        CONSTRAINT webhook_endpoints_idempotency_key UNIQUE (merchant_id, idempotency_key),
        CONSTRAINT webhook_endpoints_disabled_reason CHECK (
          enabled = (disabled_reason IS NULL) AND disabled_reason IN ('requested', 'gone', 'failing')),
        CONSTRAINT webhook_endpoints_previous_secret CHECK (
          (previous_secret IS NULL) = (previous_secret_expires_at IS NULL)),
        CONSTRAINT webhook_endpoints_deleted CHECK (deleted_at IS NULL OR NOT enabled)
      )`);
    await db.query(
      `COMMENT ON TABLE webhook_endpoints IS 'Where merchants want their events sent. Secrets are kept as they are, since every try is signed with them; a deleted endpoint stays for as long as its deliveries do'`,
    );
  }

  /** Neither status nor job is indexed, so that a try changes no index. */
  private async createDeliveries(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE webhook_deliveries (
        merchant_id         uuid        NOT NULL,
        webhook_delivery_id uuid        NOT NULL,
        webhook_endpoint_id uuid        NOT NULL,
        event_id            uuid        NOT NULL,
        event_type          text        NOT NULL,
        status              text        NOT NULL DEFAULT 'pending',
        tries               integer     NOT NULL DEFAULT 0,
        pause               integer     NOT NULL DEFAULT 0,
        job_id              uuid,
        next_try_at         timestamptz,
        created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
        updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (merchant_id, webhook_delivery_id),
        CONSTRAINT webhook_deliveries_event UNIQUE (merchant_id, webhook_endpoint_id, event_id),
        CONSTRAINT webhook_deliveries_status CHECK (status IN ('pending', 'delivered', 'failed', 'canceled')),
        CONSTRAINT webhook_deliveries_job CHECK (
          (status = 'pending') = (job_id IS NOT NULL) AND (status = 'pending') = (next_try_at IS NOT NULL))
      ) WITH (fillfactor = 80)`);
    await db.query(
      `CREATE INDEX webhook_deliveries_endpoint ON webhook_deliveries (merchant_id, webhook_endpoint_id, webhook_delivery_id)`,
    );
    await db.query('CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at)');
    await db.query(
      `COMMENT ON TABLE webhook_deliveries IS 'One event on its way to one endpoint. job_id names the one job of the queue that may try it next: any other finds nothing to do'`,
    );
  }

  private async createTries(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE webhook_tries (
        merchant_id         uuid        NOT NULL,
        webhook_delivery_id uuid        NOT NULL,
        webhook_try_id      uuid        NOT NULL,
        tried_at            timestamptz NOT NULL,
        duration_ms         integer     NOT NULL,
        response_status     smallint,
        response_body       text,
        error               text,
        CONSTRAINT webhook_tries_pkey PRIMARY KEY (merchant_id, webhook_delivery_id, webhook_try_id),
        CONSTRAINT webhook_tries_delivery FOREIGN KEY (merchant_id, webhook_delivery_id)
          REFERENCES webhook_deliveries ON DELETE CASCADE,
        CONSTRAINT webhook_tries_outcome CHECK ((response_status IS NULL) = (error IS NOT NULL))
      )`);
    await db.query(
      `COMMENT ON TABLE webhook_tries IS 'The log: every try that was made to deliver, and how the endpoint answered'`,
    );
  }
}

/**
 * The library's own statements without their BEGIN and COMMIT, because they run in the migration's transaction. The
 * library itself migrates its schema to later versions when it starts.
 */
async function queueConstruction(): Promise<string> {
  // Imported only when needed: every start loads the migrations, but hardly any runs this one.
  const { getConstructionPlans } = await import('pg-boss');
  const [, statements] = /^\s*BEGIN;(.*)COMMIT;\s*$/s.exec(getConstructionPlans('pgboss')) ?? [];
  if (statements === undefined)
    throw new Error('the construction of pg-boss is not one transaction any more');
  return statements;
}
