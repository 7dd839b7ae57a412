import { Column, Entity, Index, PrimaryColumn, Unique } from 'typeorm';
import type { DeclineCode } from '../domain/errors.js';
import type { CaptureMethod, Payment, PaymentStatus } from '../domain/payment.js';

/** A payment's row, for plain reads and for the schema. `payments.store.ts` writes it. */
@Entity({ name: 'payments' })
@Unique('payments_idempotency_key', ['merchantId', 'idempotencyKey'])
@Index('payments_user', ['merchantId', 'userId', 'transactionId'], { where: 'user_id IS NOT NULL' })
@Index('payments_gateway_key', ['gatewayKey'])
@Index('payments_by_currency', ['merchantId', 'currency', 'transactionId'])
@Index('payments_failed', ['merchantId', 'transactionId', 'currency'], { where: 'failure_code IS NOT NULL' })
@Index('payments_authorized', ['merchantId', 'transactionId', 'currency'], {
  where: `capture_method = 'manual' AND closed_by_key IS NULL AND failure_code IS NULL`,
})
@Index('payments_closed_by', ['merchantId', 'endedByKey'], { where: 'closed_by_key IS NOT NULL' })
export class PaymentEntity {
  @PrimaryColumn('uuid', { name: 'merchant_id', primaryKeyConstraintName: 'payments_pkey' })
  merchantId!: string;

  @PrimaryColumn('uuid', { name: 'transaction_id', primaryKeyConstraintName: 'payments_pkey' })
  transactionId!: string;

  @Column('text', { name: 'idempotency_key' })
  idempotencyKey!: string;

  /** The column is older than the word. The version before reads it too, and takes it for the gateway key as well. */
  @Column('uuid', {
    name: 'claim_id',
    comment:
      'The gateway key of the charge; until there were gateway keys, the id of the claim that made the payment',
  })
  gatewayKey!: string;

  @Column('text')
  fingerprint!: string;

  @Column('uuid', { name: 'user_id', nullable: true })
  userId!: string | null;

  /** PostgreSQL's bigint arrives as a string. */
  @Column('bigint')
  amount!: string;

  @Column('bigint', { name: 'amount_captured', default: 0 })
  amountCaptured!: string;

  @Column('bigint', { name: 'amount_refunded', default: 0 })
  amountRefunded!: string;

  @Column('text')
  currency!: string;

  @Column('text')
  status!: PaymentStatus;

  @Column('text', { name: 'payment_method' })
  paymentMethod!: string;

  @Column('text', { name: 'capture_method' })
  captureMethod!: CaptureMethod;

  @Column('text', { nullable: true })
  description!: string | null;

  @Column('jsonb', { default: {} })
  metadata!: Record<string, string>;

  @Column('text', { name: 'failure_code', nullable: true })
  failureCode!: DeclineCode | null;

  @Column('text', { name: 'failure_message', nullable: true })
  failureMessage!: string | null;

  @Column('text', { name: 'gateway_reference', nullable: true })
  gatewayReference!: string | null;

  @Column('uuid', {
    name: 'held_by',
    nullable: true,
    comment: 'The gateway key of the capture or cancel in progress; in older rows the id of its claim',
  })
  heldBy!: string | null;

  @Column('bigint', { name: 'held_amount', nullable: true })
  heldAmount!: string | null;

  /** The key of the capture or cancel that ended the authorization, and its request's fingerprint. Kept for ever. */
  @Column('text', { name: 'closed_by_key', nullable: true })
  endedByKey!: string | null;

  @Column('text', { name: 'closed_by_fingerprint', nullable: true })
  endedByFingerprint!: string | null;

  /** Null in rows of earlier versions. */
  @Column('uuid', { name: 'closed_by_gateway_key', nullable: true })
  endedByGatewayKey!: string | null;

  @Column('integer', { name: 'event_sequence', default: 0 })
  eventSequence!: number;

  @Column('timestamptz', { name: 'created_at' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'updated_at' })
  updatedAt!: Date;

  /** The try of a transaction that wrote the row last, where a later statement of it looks for the row. */
  @Column('bigint', { name: 'write_token', nullable: true })
  writeToken!: string | null;

  toPayment(): Payment {
    return {
      transactionId: this.transactionId,
      merchantId: this.merchantId,
      gatewayKey: this.gatewayKey,
      userId: this.userId,
      amount: BigInt(this.amount),
      amountCaptured: BigInt(this.amountCaptured),
      amountRefunded: BigInt(this.amountRefunded),
      currency: this.currency,
      status: this.status,
      paymentMethod: this.paymentMethod,
      captureMethod: this.captureMethod,
      description: this.description,
      metadata: this.metadata,
      failure:
        this.failureCode === null ? null : { code: this.failureCode, message: this.failureMessage ?? '' },
      gatewayReference: this.gatewayReference,
      hold: this.heldBy === null ? null : { gatewayKey: this.heldBy, amount: BigInt(this.heldAmount ?? 0) },
      createdAt: this.createdAt,
      updatedAt: this.updatedAt,
    };
  }
}
