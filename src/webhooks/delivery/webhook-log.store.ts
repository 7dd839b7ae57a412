import { Injectable } from '@nestjs/common';
import { batchOf } from '../../database/batch.js';
import { PipelinedTransactions } from '../../database/pipelined-transactions.js';
import type { EventType } from '../../events/event.js';
import type { LoggedTry } from './webhook-deliveries.store.js';
import type { DeliveryStatus } from './webhook-delivery.entity.js';
import type { EndpointKey } from '../endpoints/webhook-endpoints.store.js';

/** A delivery as the API lists it. */
export interface Delivery {
  webhookDeliveryId: string;
  webhookEndpointId: string;
  eventId: string;
  eventType: EventType;
  transactionId: string;
  status: DeliveryStatus;
  triesCount: number;
  nextTryAt: Date | null;
  createdAt: Date;
  /** The latest ones, newest first. */
  tries: LoggedTry[];
}

/** Enough for a whole schedule. A delivery sent again by hand may have more: they are kept but not listed. */
export const MAX_LISTED_TRIES = 20;

const DELIVERY_COLUMNS = `
  d.webhook_delivery_id AS "webhookDeliveryId", d.webhook_endpoint_id AS "webhookEndpointId",
  d.event_id AS "eventId", d.event_type AS "eventType", v.transaction_id AS "transactionId", d.status,
  d.tries AS "triesCount", d.next_try_at AS "nextTryAt", d.created_at AS "createdAt"`;

type DeliveryRow = Omit<Delivery, 'tries'>;

/** The merchant is the parameter before them. */
const DELIVERY_IDS = batchOf<string>({ webhook_delivery_id: ['uuid', (deliveryId) => deliveryId] }, 2);

/** The SQL that reads deliveries and their tries for the merchant. */
@Injectable()
export class WebhookLogStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /** The endpoint that a delivery goes to, or null when there is no such delivery. */
  async findEndpoint(merchantId: string, webhookDeliveryId: string): Promise<EndpointKey | null> {
    const [row] = await this.transactions.read<EndpointKey>({
      name: 'webhook_deliveries.endpoint_of',
      text: `
        SELECT merchant_id AS "merchantId", webhook_endpoint_id AS "webhookEndpointId"
        FROM webhook_deliveries WHERE merchant_id = $1::uuid AND webhook_delivery_id = $2::uuid`,
      values: [merchantId, webhookDeliveryId],
    });
    return row ?? null;
  }

  /** One delivery, without its tries. */
  async find(merchantId: string, webhookDeliveryId: string): Promise<Delivery | null> {
    const [row] = await this.transactions.read<DeliveryRow>({
      name: 'webhook_deliveries.find',
      text: `
        SELECT ${DELIVERY_COLUMNS} FROM webhook_deliveries d JOIN events v USING (merchant_id, event_id)
        WHERE d.merchant_id = $1::uuid AND d.webhook_delivery_id = $2::uuid`,
      values: [merchantId, webhookDeliveryId],
    });
    return row === undefined ? null : { ...row, tries: [] };
  }

  /** Newest first, without their tries. */
  async list(
    { merchantId, webhookEndpointId }: EndpointKey,
    filter: { status: DeliveryStatus | undefined; before: string | undefined },
    limit: number,
  ): Promise<Delivery[]> {
    const rows = await this.transactions.read<DeliveryRow>({
      name: 'webhook_deliveries.list',
      text: `
        SELECT ${DELIVERY_COLUMNS} FROM webhook_deliveries d JOIN events v USING (merchant_id, event_id)
        WHERE d.merchant_id = $1::uuid AND d.webhook_endpoint_id = $2::uuid
          AND d.webhook_delivery_id < coalesce($3::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
          AND d.status = coalesce($4, d.status)
        ORDER BY d.webhook_delivery_id DESC LIMIT $5`,
      values: [merchantId, webhookEndpointId, filter.before ?? null, filter.status ?? null, limit],
    });
    return rows.map((row) => ({ ...row, tries: [] }));
  }

  /** The latest tries of some deliveries, newest first. */
  async tries(merchantId: string, webhookDeliveryIds: readonly string[]): Promise<Map<string, LoggedTry[]>> {
    const rows = await this.transactions.read<LoggedTry & { webhookDeliveryId: string }>({
      name: 'webhook_tries.of',
      text: `
        SELECT i.webhook_delivery_id AS "webhookDeliveryId", t.*
        FROM ${DELIVERY_IDS.rows('i')}
        CROSS JOIN LATERAL (
          SELECT webhook_try_id AS "webhookTryId", tried_at AS "triedAt", duration_ms AS "durationMs",
            response_status AS "responseStatus", response_body AS "responseBody", error
          FROM webhook_tries o
          WHERE o.merchant_id = $1::uuid AND o.webhook_delivery_id = i.webhook_delivery_id
          ORDER BY webhook_try_id DESC LIMIT $${DELIVERY_IDS.next}
        ) t
        ORDER BY t."webhookTryId" DESC`,
      values: [merchantId, ...DELIVERY_IDS.values(webhookDeliveryIds), MAX_LISTED_TRIES],
    });
    return Map.groupBy(rows, ({ webhookDeliveryId }) => webhookDeliveryId);
  }
}
