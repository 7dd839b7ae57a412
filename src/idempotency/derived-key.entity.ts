import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

/** When a request without a key was first seen. */
@Entity({ name: 'derived_keys' })
@Index('derived_keys_age', ['firstSeenAt'])
export class DerivedKeyEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'derived_keys_pkey' })
  merchantId!: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'derived_keys_pkey' })
  fingerprint!: string;

  @Column('timestamptz', { name: 'first_seen_at' })
  firstSeenAt!: Date;
}
