import { Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { EventType } from './event.js';

/** What happened, written in the same transaction. `resource` is the payment or refund as it was then. */
@Entity({ name: 'events' })
@Index('events_rare_type', ['merchantId', 'type', 'eventId'], { where: `type <> 'payment.completed'` })
@Index('events_canceled', ['merchantId', 'transactionId'], { where: `type = 'payment.canceled'` })
@Unique('events_sequence', ['merchantId', 'transactionId', 'sequence'])
export class EventEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'events_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'event_id', primaryKeyConstraintName: 'events_pkey' })
  eventId!: string;

  @Column('text')
  type!: EventType;

  @Column('uuid', { name: 'transaction_id' })
  transactionId!: string;

  @Column('integer')
  sequence!: number;

  @Column('json')
  resource!: object;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;
}
