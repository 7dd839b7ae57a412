import { Column, Entity, PrimaryColumn, Unique } from 'typeorm';

/** An event that one sink has not taken yet. For the schema only: `event-outbox.store.ts` moves the rows. */
@Entity({ name: 'event_outbox' })
@Unique('event_outbox_sequence', ['sink', 'merchantId', 'transactionId', 'sequence'])
export class EventOutboxEntity {
  @PrimaryColumn('text', { primaryKeyConstraintName: 'event_outbox_pkey' })
  sink!: string;

  @PrimaryColumn('uuid', { name: 'event_id', primaryKeyConstraintName: 'event_outbox_pkey' })
  eventId!: string;

  @Column('uuid', { name: 'merchant_id' })
  merchantId!: string;

  @Column('uuid', { name: 'transaction_id' })
  transactionId!: string;

  @Column('integer')
  sequence!: number;

  /** How often the sink has refused it. */
  @Column('integer', { default: 0 })
  attempts!: number;

  /** The batch that last leased it: the fence. */
  @Column('uuid', { name: 'lease_id', nullable: true })
  leaseId!: string | null;

  /** No relay takes it before this time: it is being handed on, or it was refused and waits. */
  @Column('timestamptz', { name: 'lease_until', nullable: true })
  leaseUntil!: Date | null;
}
