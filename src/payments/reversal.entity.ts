import { Column, Entity, PrimaryColumn, Unique } from 'typeorm';
import type { Reversal, ReversalFailure, ReversalOutcome, ReversalStatus } from '../domain/reversal.js';

/** A reversal's row, for plain reads and for the schema. `reversals.store.ts` writes it. */
@Entity({ name: 'reversals' })
@Unique('reversals_idempotency_key', ['merchantId', 'idempotencyKey'])
export class ReversalEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'reversals_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'reversal_id', primaryKeyConstraintName: 'reversals_pkey' })
  reversalId!: string;

  /** The reversal's own key. */
  @Column('text', { name: 'idempotency_key' })
  idempotencyKey!: string;

  @Column('uuid', { name: 'claim_id' })
  claimId!: string;

  /** Null in rows of earlier versions, whose steps are named after the reversal's id. */
  @Column('uuid', { name: 'steps_key', nullable: true })
  stepsKey!: string | null;

  @Column('text')
  fingerprint!: string;

  /** The key of the payment to undo. */
  @Column('text', { name: 'reversed_key' })
  reversedKey!: string;

  @Column('text')
  status!: ReversalStatus;

  @Column('text', { nullable: true })
  outcome!: ReversalOutcome | null;

  @Column('uuid', { name: 'transaction_id', nullable: true })
  transactionId!: string | null;

  @Column('text', { name: 'failure_code', nullable: true })
  failureCode!: ReversalFailure['code'] | null;

  @Column('text', { name: 'failure_message', nullable: true })
  failureMessage!: string | null;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at' })
  updatedAt!: Date;

  toReversal(): Reversal {
    return {
      reversalId: this.reversalId,
      merchantId: this.merchantId,
      reversedKey: this.reversedKey,
      stepsKey: this.stepsKey ?? this.reversalId,
      status: this.status,
      outcome: this.outcome,
      transactionId: this.transactionId,
      failure:
        this.failureCode === null ? null : { code: this.failureCode, message: this.failureMessage ?? '' },
      createdAt: this.createdAt,
      updatedAt: this.updatedAt,
    };
  }
}
