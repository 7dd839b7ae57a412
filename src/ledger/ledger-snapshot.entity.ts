import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The sum of an account's entries below a horizon. The horizon decides what is in it, whichever process writes it. */
@Entity({ name: 'ledger_snapshots' })
export class LedgerSnapshotEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'ledger_snapshots_pkey' })
  merchantId!: string;

  /** PostgreSQL's bigint and numeric arrive as strings. */
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'ledger_snapshots_pkey' })
  horizon!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'ledger_snapshots_pkey' })
  account!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'ledger_snapshots_pkey' })
  currency!: string;

  @Column('numeric')
  balance!: string;

  @Column('bigint')
  entries!: string;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;
}
