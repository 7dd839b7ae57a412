import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** One side of a ledger transfer: debits are positive, credits negative, and the sides sum to zero. */
@Entity({ name: 'ledger_entries' })
@Index('ledger_entries_log_position', ['merchantId', 'logPosition'])
@Index('ledger_entries_payment', ['merchantId', 'transactionId'])
export class LedgerEntryEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'ledger_entries_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'ledger_transaction_id', primaryKeyConstraintName: 'ledger_entries_pkey' })
  ledgerTransactionId!: string;

  @PrimaryColumn('smallint', { primaryKeyConstraintName: 'ledger_entries_pkey' })
  posting!: number;

  @Column('uuid', { name: 'transaction_id' })
  transactionId!: string;

  @Column('text')
  account!: string;

  @Column('text')
  currency!: string;

  /** PostgreSQL's bigint arrives as a string. */
  @Column('bigint')
  amount!: string;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  /** Its place in the order of database transactions. The database sets it: see docs/ledger.md. */
  @Column('bigint', { name: 'log_position', default: 0 })
  logPosition!: string;
}
