import { Column, Entity, PrimaryColumn, Unique } from 'typeorm';

/** The outbox: what happened, written with what happened. `resource` is the payment as it was then. */
@Entity({ name: 'events' })
@Unique('events_sequence', ['merchantId', 'transactionId', 'sequence'])
export class EventEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'events_pkey' })
  merchantId: string;

  @PrimaryColumn('uuid', { name: 'event_id', primaryKeyConstraintName: 'events_pkey' })
  eventId: string;

  @Column('text')
  type: string;

  @Column('uuid', { name: 'transaction_id' })
  transactionId: string;

  @Column('integer')
  sequence: number;

  @Column('json')
  resource: unknown;

  @Column('timestamptz', { name: 'created_at' })
  createdAt: Date;
}
