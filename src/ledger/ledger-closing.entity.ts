import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * One row: the place up to which the books are closed, and the base that is added to a transaction's number to get a
 * place.
 */
@Entity({ name: 'ledger_closing' })
export class LedgerClosingEntity {
  @PrimaryColumn('boolean', {
    name: 'only_row',
    default: true,
    primaryKeyConstraintName: 'ledger_closing_pkey',
  })
  onlyRow!: boolean;

  @Column('bigint', { name: 'xid_base', default: 0 })
  xidBase!: string;

  @Column('bigint', { name: 'closed_below', default: 1 })
  closedBelow!: string;
}
