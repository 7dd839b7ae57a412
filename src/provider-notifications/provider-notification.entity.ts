import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** An event of the payment provider that we have acted on. */
@Entity({ name: 'gateway_notifications' })
@Index('gateway_notifications_resource', ['resourceId', 'receivedAt'])
@Index('gateway_notifications_age', ['receivedAt'])
export class ProviderNotificationEntity {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'gateway_notifications_pkey' })
  gateway!: string;

  /** The provider's own id of the event: the same for every copy. */
  @PrimaryColumn('text', { name: 'event_id', primaryKeyConstraintName: 'gateway_notifications_pkey' })
  eventId!: string;

  @Column('text')
  type!: string;

  /** The payment or refund that it is about. */
  @Column('uuid', { name: 'resource_id' })
  resourceId!: string;

  @Column('timestamptz', { name: 'received_at', default: () => 'clock_timestamp()' })
  receivedAt!: Date;

  /** The try of a transaction that wrote the row last, where a later statement of it looks for the row. */
  @Column('bigint', { name: 'write_token', nullable: true })
  writeToken!: string | null;
}
