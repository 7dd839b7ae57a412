import { Injectable } from '@nestjs/common';
import type { GatewayName } from '../config/config.js';
import { batchOf } from '../database/batch.js';
import { PipelinedTransactions, type Transaction } from '../database/pipelined-transactions.js';
import type { NotificationSubject } from '../gateways/notification-reader.js';

/** A provider's event as we remember it. */
export interface ReceivedNotification {
  gateway: GatewayName;
  eventId: string;
  type: string;
  resourceId: string;
}

const RECEIVED = batchOf<ReceivedNotification>({
  gateway: ['text', (notification) => notification.gateway],
  event_id: ['text', (notification) => notification.eventId],
  type: ['text', (notification) => notification.type],
  resource_id: ['uuid', (notification) => notification.resourceId],
});

/**
 * The SQL that writes `gateway_notifications`. The engine reads that table: `OpenClaimsStore` decides what a
 * notification does to a claim.
 */
@Injectable()
export class ProviderNotificationsStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Our ids of the payments and refunds that notifications are about, in their order; null for what is none of ours. A
   * payment is committed before its call, so a notification never comes before its payment.
   */
  async resourcesOf(subjects: readonly NotificationSubject[]): Promise<(string | null)[]> {
    const keysOf = (wanted: NotificationSubject['kind']): string[] =>
      subjects.flatMap((subject) =>
        'gatewayKey' in subject && subject.kind === wanted ? subject.gatewayKey : [],
      );
    const keys = [keysOf('payment'), keysOf('refund')];
    const found = new Map<string, string>();
    if (keys.some(({ length }) => length > 0)) {
      const rows = await this.transactions.read<{ gatewayKey: string; resourceId: string }>({
        name: 'gateway_notifications.resources_of',
        text: `
          SELECT p.claim_id AS "gatewayKey", p.transaction_id AS "resourceId"
          FROM payments p WHERE p.claim_id = ANY ($1::uuid[])
          UNION ALL
          SELECT r.claim_id, r.refund_id FROM refunds r WHERE r.claim_id = ANY ($2::uuid[])`,
        values: keys,
      });
      for (const { gatewayKey, resourceId } of rows) found.set(gatewayKey, resourceId);
    }
    return subjects.map((subject) =>
      'gatewayKey' in subject ? (found.get(subject.gatewayKey) ?? null) : subject.resourceId,
    );
  }

  /** Remembers events, and returns the ids of the new ones: of equal events, exactly one is new. */
  async insert(tx: Transaction, notifications: readonly ReceivedNotification[]): Promise<Set<string>> {
    const { rows } = await tx.query<{ eventId: string }>({
      name: 'gateway_notifications.insert',
      text: `
        INSERT INTO gateway_notifications AS n (gateway, event_id, type, resource_id, write_token)
        SELECT i.*, $${RECEIVED.next} FROM ${RECEIVED.rows('i')}
        ON CONFLICT (gateway, event_id) DO NOTHING
        RETURNING n.event_id AS "eventId"`,
      values: [...RECEIVED.values(notifications), tx.token],
    });
    return new Set(rows.map(({ eventId }) => eventId));
  }

  /** Deletes events that were received longer ago than this, oldest first, and returns how many. */
  async reap(retentionMs: number, limit: number): Promise<number> {
    const rows = await this.transactions.read({
      name: 'gateway_notifications.reap',
      text: `
        DELETE FROM gateway_notifications n
        USING (
          SELECT gateway, event_id FROM gateway_notifications
          WHERE received_at <= clock_timestamp() - $1 * interval '1 millisecond'
          ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) reaped
        WHERE n.gateway = reaped.gateway AND n.event_id = reaped.event_id
        RETURNING 1`,
      values: [retentionMs, limit],
    });
    return rows.length;
  }
}
