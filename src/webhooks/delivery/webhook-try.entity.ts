import { Column, Entity, ForeignKey, PrimaryColumn } from 'typeorm';
import { WebhookDeliveryEntity } from './webhook-delivery.entity.js';

/** One try in the log, for the schema. `webhook-deliveries.store.ts` writes it, `webhook-log.store.ts` reads it. */
@Entity({ name: 'webhook_tries' })
@ForeignKey(
  () => WebhookDeliveryEntity,
  ['merchantId', 'webhookDeliveryId'],
  ['merchantId', 'webhookDeliveryId'],
  { name: 'webhook_tries_delivery', onDelete: 'CASCADE' },
)
export class WebhookTryEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'webhook_tries_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'webhook_delivery_id', primaryKeyConstraintName: 'webhook_tries_pkey' })
  webhookDeliveryId!: string;

  @PrimaryColumn('uuid', { name: 'webhook_try_id', primaryKeyConstraintName: 'webhook_tries_pkey' })
  webhookTryId!: string;

  @Column('timestamptz', { name: 'tried_at' })
  triedAt!: Date;

  @Column('integer', { name: 'duration_ms' })
  durationMs!: number;

  /** Null when there was no answer; then `error` says why. */
  @Column('smallint', { name: 'response_status', nullable: true })
  responseStatus!: number | null;

  @Column('text', { name: 'response_body', nullable: true })
  responseBody!: string | null;

  @Column('text', { nullable: true })
  error!: string | null;
}
