import { Injectable } from '@nestjs/common';
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
        FROM unnest($1::uuid[]) AS i(merchant_id)
        JOIN webhook_endpoints e USING (merchant_id)
        WHERE e.enabled`,
      values: [merchantIds],
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
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::boolean[], $5::bigint[], $6::boolean[])
          AS i(merchant_id, webhook_endpoint_id, url, succeeded, pause_ms, gone)
        JOIN webhook_endpoints o USING (merchant_id, webhook_endpoint_id)
        CROSS JOIN LATERAL (
          SELECT CASE
            WHEN i.gone THEN 'gone'
            WHEN NOT i.succeeded AND o.failing_since <= clock_timestamp() - $7 * interval '1 millisecond'
              THEN 'failing'
          END AS reason
        ) d
        WHERE e.merchant_id = i.merchant_id AND e.webhook_endpoint_id = i.webhook_endpoint_id AND e.enabled
          AND e.url = i.url
        RETURNING e.merchant_id AS "merchantId", e.webhook_endpoint_id AS "webhookEndpointId",
          e.disabled_reason AS reason`,
      values: [
        news.map((item) => item.merchantId),
        news.map((item) => item.webhookEndpointId),
        news.map((item) => item.url),
        news.map((item) => item.succeeded),
        news.map((item) => item.pauseMs),
        news.map((item) => item.gone),
        disableAfterMs,
      ],
    });
    return rows.filter(({ reason }) => reason !== null);
  }
}
