import { Injectable } from '@nestjs/common';
import { batchOf } from '../../database/batch.js';
import { PipelinedTransactions, type Transaction } from '../../database/pipelined-transactions.js';
import type { EventType } from '../../events/event.js';
import type { EndpointKey } from '../endpoints/webhook-endpoints.store.js';

/** An endpoint that gets a merchant's events. Null types means all types. */
export interface Subscription {
  merchantId: string;
  webhookEndpointId: string;
  eventTypes: EventType[] | null;
}

/** How tries at one endpoint went, when its row has to change. */
export interface EndpointNews extends EndpointKey {
  /** The URL that was tried. */
  url: string;
  succeeded: boolean;
  /** The pause that it asked for; null if it did not. */
  pauseMs: number | null;
  gone: boolean;
}

export interface DisabledEndpoint extends EndpointKey {
  reason: 'gone' | 'failing' | null;
}

/**
 * SQL that is true if an endpoint subscribes to the event `e` at this moment. An endpoint whose creation or enabling
 * was answered before is always seen, in every process.
 */
export const SUBSCRIBED = `EXISTS (
  SELECT FROM webhook_endpoints w
  WHERE w.merchant_id = e.merchant_id AND w.enabled AND (w.event_types IS NULL OR e.type = ANY(w.event_types)))`;

const MERCHANTS = batchOf<string>({ merchant_id: ['uuid', (merchantId) => merchantId] });

const NEWS = batchOf<EndpointNews>({
  merchant_id: ['uuid', (item) => item.merchantId],
  webhook_endpoint_id: ['uuid', (item) => item.webhookEndpointId],
  url: ['text', (item) => item.url],
  succeeded: ['boolean', (item) => item.succeeded],
  pause_ms: ['bigint', (item) => item.pauseMs],
  gone: ['boolean', (item) => item.gone],
});

/** The SQL of `webhook_endpoints` for delivering: which endpoints get an event, and how their tries went. */
@Injectable()
export class WebhookSubscriptionsStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /** Whether any merchant has an endpoint. Until one has, there is no queue to open. */
  async any(): Promise<boolean> {
    const rows = await this.transactions.read({
      name: 'webhook_subscriptions.any',
      text: 'SELECT 1 FROM webhook_endpoints WHERE deleted_at IS NULL LIMIT 1',
      values: [],
    });
    return rows.length > 0;
  }

  /** The enabled endpoints of these merchants. */
  of(merchantIds: readonly string[]): Promise<Subscription[]> {
    return this.transactions.read<Subscription>({
      name: 'webhook_subscriptions.of',
      text: `
        SELECT e.merchant_id AS "merchantId", e.webhook_endpoint_id AS "webhookEndpointId", e.event_types AS "eventTypes"
        FROM ${MERCHANTS.rows('i')}
        JOIN webhook_endpoints e USING (merchant_id)
        WHERE e.enabled`,
      values: MERCHANTS.values(merchantIds),
    });
  }

  /**
   * Notes how tries went, unless the endpoint's URL has changed since. Disables an endpoint that is gone or has failed
   * for `disableAfterMs`.
   */
  async note(
    tx: Transaction,
    news: readonly EndpointNews[],
    disableAfterMs: number,
  ): Promise<DisabledEndpoint[]> {
    if (news.length === 0) return [];
    const { rows } = await tx.query<DisabledEndpoint>({
      name: 'webhook_subscriptions.note',
      text: `
        UPDATE webhook_endpoints e
        SET failing_since = CASE WHEN NOT i.succeeded THEN coalesce(e.failing_since, clock_timestamp()) END,
          paused_until = greatest(e.paused_until, clock_timestamp() + i.pause_ms * interval '1 millisecond'),
          enabled = d.reason IS NULL, disabled_reason = d.reason,
          updated_at = CASE WHEN d.reason IS NULL THEN e.updated_at ELSE clock_timestamp() END
        FROM ${NEWS.rows('i')}
        JOIN webhook_endpoints o USING (merchant_id, webhook_endpoint_id)
        CROSS JOIN LATERAL (
          SELECT CASE
            WHEN i.gone THEN 'gone'
            WHEN NOT i.succeeded AND o.failing_since <= clock_timestamp() - $${NEWS.next} * interval '1 millisecond'
              THEN 'failing'
          END AS reason
        ) d
        WHERE e.merchant_id = i.merchant_id AND e.webhook_endpoint_id = i.webhook_endpoint_id AND e.enabled
          AND e.url = i.url
        RETURNING e.merchant_id AS "merchantId", e.webhook_endpoint_id AS "webhookEndpointId",
          e.disabled_reason AS reason`,
      values: [...NEWS.values(news), disableAfterMs],
    });
    return rows.filter(({ reason }) => reason !== null);
  }
}
