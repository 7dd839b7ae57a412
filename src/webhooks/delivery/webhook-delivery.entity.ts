import { Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { EventType } from '../../events/event.js';

export const DELIVERY_STATUSES = ['pending', 'delivered', 'failed', 'canceled'] as const;
/** `failed`: every try of the schedule failed. `canceled`: the endpoint was disabled or deleted before its turn. */
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/**
 * A delivery's row, for the schema. `webhook-deliveries.store.ts` reads and writes it to deliver, and
 * `webhook-log.store.ts` reads it for the merchant.
 */
@Entity({ name: 'webhook_deliveries' })
@Unique('webhook_deliveries_event', ['merchantId', 'webhookEndpointId', 'eventId'])
@Index('webhook_deliveries_endpoint', ['merchantId', 'webhookEndpointId', 'webhookDeliveryId'])
@Index('webhook_deliveries_age', ['createdAt'])
export class WebhookDeliveryEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'webhook_deliveries_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'webhook_delivery_id', primaryKeyConstraintName: 'webhook_deliveries_pkey' })
  webhookDeliveryId!: string;

  @Column('uuid', { name: 'webhook_endpoint_id' })
  webhookEndpointId!: string;

  @Column('uuid', { name: 'event_id' })
  eventId!: string;

  @Column('text', { name: 'event_type' })
  eventType!: EventType;

  @Column('text', { default: 'pending' })
  status!: DeliveryStatus;

  @Column('integer', { default: 0 })
  tries!: number;

  /** How many pauses of the schedule it has used. */
  @Column('integer', { default: 0 })
  pause!: number;

  /** The only job of the queue that may try it next; null once it has ended. */
  @Column('uuid', { name: 'job_id', nullable: true })
  jobId!: string | null;

  @Column('timestamptz', { name: 'next_try_at', nullable: true })
  nextTryAt!: Date | null;

  @Column('timestamptz', { name: 'created_at', default: () => 'clock_timestamp()' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at', default: () => 'clock_timestamp()' })
  updatedAt!: Date;
}
