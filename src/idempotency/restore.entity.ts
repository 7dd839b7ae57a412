import { Column, Entity, PrimaryColumn } from 'typeorm';

/** When an operator said that the database had lost its tail, what was lost, and until when first calls look up first. */
@Entity({ name: 'restores' })
export class RestoreEntity {
  @PrimaryColumn('timestamptz', { name: 'restored_at', primaryKeyConstraintName: 'restores_pkey' })
  restoredAt!: Date;

  @Column('timestamptz', { name: 'lost_since' })
  lostSince!: Date;

  @Column('timestamptz', { name: 'ends_at' })
  endsAt!: Date;
}
