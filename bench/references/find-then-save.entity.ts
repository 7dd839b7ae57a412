import { Column, CreateDateColumn, Entity, PrimaryGeneratedColumn, Unique, UpdateDateColumn } from 'typeorm';

@Entity('payments')
@Unique(['merchantId', 'idempotencyKey'])
export class Payment {
  @PrimaryGeneratedColumn('uuid')
  transactionId!: string;

  @Column('uuid')
  merchantId!: string;

  @Column('text')
  idempotencyKey!: string;

  @Column('uuid', { nullable: true })
  userId!: string | null;

  @Column('bigint')
  amount!: number;

  @Column('bigint', { default: 0 })
  amountCaptured!: number;

  @Column('text')
  currency!: string;

  @Column('text')
  status!: 'pending' | 'completed';

  @Column('text')
  paymentMethod!: string;

  @Column('text')
  captureMethod!: string;

  @Column('text', { nullable: true })
  description!: string | null;

  @Column('jsonb')
  metadata!: Record<string, string>;

  @Column('text', { nullable: true })
  gatewayReference!: string | null;

  @CreateDateColumn({ type: 'timestamptz' })
  createdAt!: Date;

  @UpdateDateColumn({ type: 'timestamptz' })
  updatedAt!: Date;
}

@Entity('ledger_entries')
export class LedgerEntry {
  @PrimaryGeneratedColumn('uuid')
  ledgerEntryId!: string;

  @Column('uuid')
  transactionId!: string;

  @Column('text')
  account!: string;

  @Column('text')
  currency!: string;

  @Column('bigint')
  amount!: number;

  @CreateDateColumn({ type: 'timestamptz' })
  createdAt!: Date;
}

@Entity('events')
export class PaymentEvent {
  @PrimaryGeneratedColumn('uuid')
  eventId!: string;

  @Column('uuid')
  transactionId!: string;

  @Column('text')
  type!: string;

  @Column('jsonb')
  resource: unknown;

  @CreateDateColumn({ type: 'timestamptz' })
  createdAt!: Date;
}
