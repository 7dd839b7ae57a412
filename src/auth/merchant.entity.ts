import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The tenant: every other row belongs to one. */
@Entity({ name: 'merchants' })
export class MerchantEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'merchants_pkey' })
  merchantId!: string;

  @Column('text')
  name!: string;

  @Column('timestamptz', { name: 'created_at', default: () => 'clock_timestamp()' })
  createdAt!: Date;
}
