import { Injectable } from '@nestjs/common';
import { DataSource, IsNull } from 'typeorm';
import { batchOf } from '../../database/batch.js';
import { PipelinedTransactions, writtenBy, type Transaction } from '../../database/pipelined-transactions.js';
import { RefusedError } from '../../domain/errors.js';
import type { EventType } from '../../events/event.js';
import type { ScopedKey } from '../../idempotency/scoped-key.js';
import { validate as isUuid } from 'uuid';
import { WebhookEndpointEntity } from './webhook-endpoint.entity.js';

/** At most this many for one merchant, because each event may go to all of them. */
export const MAX_ENDPOINTS = 20;

interface NewEndpoint extends ScopedKey {
  url: string;
  eventTypes: EventType[] | null;
  description: string | null;
  secret: string;
  receivedAt: Date;
}

interface Rotation extends ScopedKey {
  webhookEndpointId: string;
  secret: string;
  overlapMs: number;
}

/** The fields to change; undefined leaves a field as it is. */
interface EndpointChange {
  url?: string | undefined;
  eventTypes?: EventType[] | null | undefined;
  description?: string | null | undefined;
  enabled?: boolean | undefined;
}

export interface EndpointKey {
  merchantId: string;
  webhookEndpointId: string;
}

const NEW_ENDPOINTS = batchOf<NewEndpoint>({
  merchant_id: ['uuid', (endpoint) => endpoint.merchantId],
  idempotency_key: ['text', (endpoint) => endpoint.idempotencyKey],
  url: ['text', (endpoint) => endpoint.url],
  event_types: ['json', (endpoint) => JSON.stringify(endpoint.eventTypes)],
  description: ['text', (endpoint) => endpoint.description],
  secret: ['text', (endpoint) => endpoint.secret],
  created_at: ['timestamptz', (endpoint) => endpoint.receivedAt],
});

const ROTATIONS = batchOf<Rotation>({
  merchant_id: ['uuid', (rotation) => rotation.merchantId],
  idempotency_key: ['text', (rotation) => rotation.idempotencyKey],
  webhook_endpoint_id: ['uuid', (rotation) => rotation.webhookEndpointId],
  secret: ['text', (rotation) => rotation.secret],
  overlap_ms: ['bigint', (rotation) => rotation.overlapMs],
});

/** The SQL of `webhook_endpoints` that serves the merchant who owns them. */
@Injectable()
export class WebhookEndpointsStore {
  constructor(
    private readonly dataSource: DataSource,
    private readonly transactions: PipelinedTransactions,
  ) {}

  /**
   * Makes transactions count a merchant's endpoints one at a time, across all processes. Nothing else takes this lock,
   * and reading a merchant does not wait for it.
   */
  async lockMerchants(tx: Transaction, merchantIds: readonly string[]): Promise<void> {
    await tx.query({
      name: 'webhook_endpoints.lock_merchants',
      text: `
        SELECT FROM merchants WHERE merchant_id = ANY($1::uuid[]) ORDER BY merchant_id FOR NO KEY UPDATE`,
      values: [merchantIds],
    });
  }

  /**
   * Inserts an endpoint for each claim that this transaction took, if its merchant may have one more. The count is exact
   * only after {@link lockMerchants}, because it does not see what another transaction has not committed.
   */
  async insert(tx: Transaction, endpoints: readonly NewEndpoint[]): Promise<ScopedKey[]> {
    const { rows } = await tx.query<ScopedKey>({
      name: 'webhook_endpoints.insert',
      text: `
        WITH taken AS MATERIALIZED (
          SELECT i.*, k.resource_id, k.claim_id, k.fingerprint
          FROM ${NEW_ENDPOINTS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', NEW_ENDPOINTS.next + 1)}
        )
        INSERT INTO webhook_endpoints AS e
          (merchant_id, webhook_endpoint_id, idempotency_key, claim_id, fingerprint, url, event_types, description,
            secret, created_at, updated_at)
        SELECT t.merchant_id, t.resource_id, t.idempotency_key, t.claim_id, t.fingerprint, t.url,
          CASE WHEN json_typeof(t.event_types) = 'array' THEN ARRAY(SELECT json_array_elements_text(t.event_types)) END,
          t.description, t.secret, t.created_at, t.created_at
        FROM taken t
        WHERE $${NEW_ENDPOINTS.next} > (
          SELECT count(*) FROM webhook_endpoints o WHERE o.merchant_id = t.merchant_id AND o.deleted_at IS NULL)
        ON CONFLICT (merchant_id, idempotency_key) DO NOTHING
        RETURNING e.merchant_id AS "merchantId", e.idempotency_key AS "idempotencyKey"`,
      values: [...NEW_ENDPOINTS.values(endpoints), MAX_ENDPOINTS, tx.token],
    });
    return rows;
  }

  /**
   * Gives endpoints new secrets for the claims that this transaction took. The old secrets sign as well until the
   * overlap ends. A claim that was taken over has already rotated and does not rotate again.
   */
  async rotate(tx: Transaction, rotations: readonly Rotation[]): Promise<ScopedKey[]> {
    const { rows } = await tx.query<ScopedKey>({
      name: 'webhook_endpoints.rotate',
      text: `
        WITH taken AS MATERIALIZED (
          SELECT i.*, k.claim_id
          FROM ${ROTATIONS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', ROTATIONS.next)}
        )
        UPDATE webhook_endpoints e
        SET secret = t.secret, previous_secret = e.secret, rotation_claim_id = t.claim_id,
          previous_secret_expires_at = clock_timestamp() + t.overlap_ms * interval '1 millisecond',
          updated_at = clock_timestamp()
        FROM taken t
        WHERE e.merchant_id = t.merchant_id AND e.webhook_endpoint_id = t.webhook_endpoint_id
          AND e.deleted_at IS NULL AND e.rotation_claim_id IS DISTINCT FROM t.claim_id
        RETURNING t.merchant_id AS "merchantId", t.idempotency_key AS "idempotencyKey"`,
      values: [...ROTATIONS.values(rotations), tx.token],
    });
    return rows;
  }

  /** The endpoint created under a key, deleted or not. */
  findByKey({ merchantId, idempotencyKey }: ScopedKey): Promise<WebhookEndpointEntity | null> {
    return this.dataSource.manager.findOneBy(WebhookEndpointEntity, { merchantId, idempotencyKey });
  }

  find(merchantId: string, webhookEndpointId: string): Promise<WebhookEndpointEntity | null> {
    return this.dataSource.manager.findOneBy(WebhookEndpointEntity, {
      merchantId,
      webhookEndpointId,
      deletedAt: IsNull(),
    });
  }

  /** @throws RefusedError `not_found`, also when `id` is not a UUID. */
  async require(merchantId: string, id: string): Promise<WebhookEndpointEntity> {
    const endpoint = isUuid(id) ? await this.find(merchantId, id) : null;
    if (endpoint === null) throw new RefusedError({ code: 'not_found', what: 'webhook endpoint' });
    return endpoint;
  }

  /** Newest first. */
  list(merchantId: string, before: string | undefined, limit: number): Promise<WebhookEndpointEntity[]> {
    const query = this.dataSource.manager
      .createQueryBuilder(WebhookEndpointEntity, 'e')
      .where('e.merchantId = :merchantId AND e.deletedAt IS NULL', { merchantId })
      .orderBy('e.webhookEndpointId', 'DESC')
      .limit(limit);
    if (before) query.andWhere('e.webhookEndpointId < :before', { before });
    return query.getMany();
  }

  /** Enabling an endpoint or changing its URL clears its failures and its pause, so that it starts fresh. */
  async update({ merchantId, webhookEndpointId }: EndpointKey, change: EndpointChange): Promise<boolean> {
    const { url, eventTypes, description, enabled } = change;
    const rows = await this.transactions.read({
      name: 'webhook_endpoints.update',
      text: `
        UPDATE webhook_endpoints
        SET url = coalesce($3, url),
          event_types = CASE WHEN $4 THEN $5 ELSE event_types END,
          description = CASE WHEN $6 THEN $7 ELSE description END,
          enabled = coalesce($8, enabled),
          disabled_reason = CASE $8 WHEN true THEN NULL WHEN false THEN 'requested' ELSE disabled_reason END,
          failing_since = CASE WHEN $8 OR $3 <> url THEN NULL ELSE failing_since END,
          paused_until = CASE WHEN $8 OR $3 <> url THEN NULL ELSE paused_until END,
          updated_at = clock_timestamp()
        WHERE merchant_id = $1::uuid AND webhook_endpoint_id = $2::uuid AND deleted_at IS NULL
        RETURNING 1`,
      values: [
        merchantId,
        webhookEndpointId,
        url ?? null,
        eventTypes !== undefined,
        eventTypes ?? null,
        description !== undefined,
        description ?? null,
        enabled ?? null,
      ],
    });
    return rows.length > 0;
  }

  /** Disables the endpoint and clears its secrets. The row stays, because deliveries refer to it. */
  async delete({ merchantId, webhookEndpointId }: EndpointKey): Promise<boolean> {
    const rows = await this.transactions.read({
      name: 'webhook_endpoints.delete',
      text: `
        UPDATE webhook_endpoints
        SET deleted_at = clock_timestamp(), updated_at = clock_timestamp(), enabled = false,
          disabled_reason = 'requested', secret = '', previous_secret = NULL, previous_secret_expires_at = NULL
        WHERE merchant_id = $1::uuid AND webhook_endpoint_id = $2::uuid AND deleted_at IS NULL
        RETURNING 1`,
      values: [merchantId, webhookEndpointId],
    });
    return rows.length > 0;
  }

  /** Deletes the rows of deleted endpoints that have no deliveries left. */
  async reap(limit: number): Promise<number> {
    const rows = await this.transactions.read({
      name: 'webhook_endpoints.reap',
      text: `
        DELETE FROM webhook_endpoints e
        USING (
          SELECT merchant_id, webhook_endpoint_id FROM webhook_endpoints o
          WHERE deleted_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM webhook_deliveries d
            WHERE d.merchant_id = o.merchant_id AND d.webhook_endpoint_id = o.webhook_endpoint_id)
          LIMIT $1 FOR UPDATE SKIP LOCKED
        ) reaped
        WHERE e.merchant_id = reaped.merchant_id AND e.webhook_endpoint_id = reaped.webhook_endpoint_id
        RETURNING 1`,
      values: [limit],
    });
    return rows.length;
  }
}
