import { Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { DeclineCode } from '../domain/errors.js';
import type { Refund, RefundStatus } from '../domain/refund.js';

/** A refund's row, for plain reads and for the schema. `refunds.store.ts` writes it. */
@Entity({ name: 'refunds' })
@Unique('refunds_idempotency_key', ['merchantId', 'idempotencyKey'])
@Index('refunds_gateway_key', ['gatewayKey'])
@Index('refunds_payment', ['merchantId', 'transactionId', 'refundId'])
export class RefundEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'refunds_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'refund_id', primaryKeyConstraintName: 'refunds_pkey' })
  refundId!: string;

  @Column('uuid', { name: 'transaction_id' })
  transactionId!: string;

  @Column('text', { name: 'idempotency_key' })
  idempotencyKey!: string;

  /** The column is older than the word: see `payment.entity.ts`. */
  @Column('uuid', {
    name: 'claim_id',
    comment: 'The gateway key of the refund; until there were gateway keys, the id of the claim that made it',
  })
  gatewayKey!: string;

  @Column('text')
  fingerprint!: string;

  /** PostgreSQL's bigint arrives as a string. */
  @Column('bigint')
  amount!: string;

  @Column('text')
  currency!: string;

  @Column('text')
  status!: RefundStatus;

  @Column('text', { nullable: true })
  reason!: string | null;

  @Column('text', { name: 'failure_code', nullable: true })
  failureCode!: DeclineCode | null;

  @Column('text', { name: 'failure_message', nullable: true })
  failureMessage!: string | null;

  @Column('text', { name: 'gateway_reference', nullable: true })
  gatewayReference!: string | null;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at' })
  updatedAt!: Date;

  toRefund(): Refund {
    return {
      refundId: this.refundId,
      merchantId: this.merchantId,
      gatewayKey: this.gatewayKey,
      transactionId: this.transactionId,
      amount: BigInt(this.amount),
      currency: this.currency,
      status: this.status,
      reason: this.reason,
      failure:
        this.failureCode === null ? null : { code: this.failureCode, message: this.failureMessage ?? '' },
      createdAt: this.createdAt,
      updatedAt: this.updatedAt,
    };
  }
}
