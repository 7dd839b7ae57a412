import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Transaction } from '../database/pipelined-transactions.js';
import type { CaptureMethod, Payment, PaymentFailure, PaymentStatus } from '../domain/payment.js';
import { WRITTEN_BY_THIS_TRANSACTION, type Claim, type ScopedKey } from '../idempotency/claims.store.js';
import { PaymentEntity } from './payment.entity.js';

/** What a payment is made of before anything has happened. Amounts are in the currency's minor unit. */
export interface NewPayment extends ScopedKey {
  receivedAt: Date;
  command: {
    amountMinor: bigint;
    currency: string;
    paymentMethod: string;
    captureMethod: CaptureMethod;
    userId: string | null;
    description: string | null;
    metadata: Readonly<Record<string, string>>;
  };
}

/** Whose payment the key stands for: `inserted` is false when the key had one already. */
export interface UpsertedPayment extends ScopedKey {
  transactionId: string;
  inserted: boolean;
}

/** The settled outcome of an operation. It applies only while the payment is in the state `from`. */
export interface PaymentChange {
  merchantId: string;
  transactionId: string;
  from: PaymentStatus;
  to: PaymentStatus;
  amountCaptured: bigint;
  failure: PaymentFailure | null;
  gatewayReference: string | null;
  updatedAt: Date;
}

/** The key under which a payment was made, for ever: what answers after the claim was reaped. */
export interface PaymentOrigin {
  claimId: string;
  fingerprint: string;
  payment: Payment;
}

export interface PaymentFilter {
  status?: PaymentStatus | undefined;
  currency?: string | undefined;
  userId?: string | undefined;
  createdGte?: Date | undefined;
  createdLt?: Date | undefined;
  /** Only payments older than this one: the last of the page before. */
  before?: string | undefined;
}

/** The SQL of `payments`. Arrays must be sorted by key, so that two groups never lock in opposite orders. */
@Injectable()
export class PaymentsStore {
  constructor(private readonly dataSource: DataSource) {}

  /**
   * Inserts pending payments for the claims that this transaction took. A key that has a payment already, because its
   * claim was taken over or because its stored response was reaped, returns that one: the assignment changes nothing
   * and only makes the original come back.
   */
  async insertPending(tx: Transaction, items: readonly NewPayment[]): Promise<UpsertedPayment[]> {
    const { rows } = await tx.query<UpsertedPayment>({
      name: 'payments.insert_pending',
      text: `
        INSERT INTO payments AS p
          (merchant_id, transaction_id, idempotency_key, claim_id, fingerprint, user_id, amount, currency, status,
            payment_method, capture_method, description, metadata, created_at, updated_at)
        SELECT k.merchant_id, k.resource_id, k.idempotency_key, k.claim_id, k.fingerprint, i.user_id, i.amount,
          i.currency, 'pending', i.payment_method, i.capture_method, i.description, i.metadata, i.created_at,
          i.created_at
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
          $9::jsonb[], $10::timestamptz[])
          AS i(merchant_id, idempotency_key, user_id, amount, currency, payment_method, capture_method, description,
            metadata, created_at)
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE ${WRITTEN_BY_THIS_TRANSACTION('k')}
        ON CONFLICT (merchant_id, idempotency_key) DO UPDATE SET idempotency_key = EXCLUDED.idempotency_key
        RETURNING p.merchant_id AS "merchantId", p.idempotency_key AS "idempotencyKey",
          p.transaction_id AS "transactionId", p.xmax = 0 AS inserted`,
      values: [
        items.map((item) => item.merchantId),
        items.map((item) => item.idempotencyKey),
        items.map(({ command }) => command.userId),
        items.map(({ command }) => command.amountMinor),
        items.map(({ command }) => command.currency),
        items.map(({ command }) => command.paymentMethod),
        items.map(({ command }) => command.captureMethod),
        items.map(({ command }) => command.description),
        items.map(({ command }) => JSON.stringify(command.metadata)),
        items.map((item) => item.receivedAt),
      ],
    });
    return rows;
  }

  /**
   * Applies outcomes for the claims that this transaction completed, and counts the event that each brings. The claims
   * are looked up first: joined freely, a merchant's payments would each be tried against each claim.
   */
  async settle(tx: Transaction, changes: readonly { claim: Claim; change: PaymentChange }[]): Promise<void> {
    await tx.query({
      name: 'payments.settle',
      text: `
        WITH settled AS MATERIALIZED (
          SELECT i.*
          FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
            $9::text[], $10::timestamptz[])
            AS i(merchant_id, idempotency_key, transaction_id, from_status, to_status, amount_captured, failure_code,
              failure_message, gateway_reference, updated_at)
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${WRITTEN_BY_THIS_TRANSACTION('k')}
        )
        UPDATE payments p
        SET status = s.to_status, amount_captured = s.amount_captured, failure_code = s.failure_code,
          failure_message = s.failure_message, gateway_reference = coalesce(s.gateway_reference, p.gateway_reference),
          event_sequence = p.event_sequence + 1, updated_at = s.updated_at
        FROM settled s
        WHERE p.merchant_id = s.merchant_id AND p.transaction_id = s.transaction_id AND p.status = s.from_status`,
      values: [
        changes.map(({ claim }) => claim.merchantId),
        changes.map(({ claim }) => claim.idempotencyKey),
        changes.map(({ change }) => change.transactionId),
        changes.map(({ change }) => change.from),
        changes.map(({ change }) => change.to),
        changes.map(({ change }) => change.amountCaptured),
        changes.map(({ change }) => change.failure?.code ?? null),
        changes.map(({ change }) => change.failure?.message ?? null),
        changes.map(({ change }) => change.gatewayReference),
        changes.map(({ change }) => change.updatedAt),
      ],
    });
  }

  /** Removes the pending payments of the claims that this transaction released: nothing happened, so nothing stays. */
  async deletePending(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    await tx.query({
      name: 'payments.delete_pending',
      text: `
        DELETE FROM payments p
        USING unnest($1::uuid[], $2::text[]) AS i(merchant_id, idempotency_key)
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE ${WRITTEN_BY_THIS_TRANSACTION('k')}
          AND p.merchant_id = k.merchant_id AND p.transaction_id = k.resource_id AND p.status = 'pending'`,
      values: [claims.map((claim) => claim.merchantId), claims.map((claim) => claim.idempotencyKey)],
    });
  }

  async find(merchantId: string, transactionId: string): Promise<Payment | null> {
    const entity = await this.dataSource.manager.findOneBy(PaymentEntity, { merchantId, transactionId });
    return entity?.toPayment() ?? null;
  }

  /** The payment that was made under a key, with the fingerprint of the request that made it. */
  async findByKey({ merchantId, idempotencyKey }: ScopedKey): Promise<PaymentOrigin | null> {
    const entity = await this.dataSource.manager.findOneBy(PaymentEntity, { merchantId, idempotencyKey });
    return (
      entity && { claimId: entity.claimId, fingerprint: entity.fingerprint, payment: entity.toPayment() }
    );
  }

  /** Newest first. A UUIDv7 begins with its time, so the primary key is the order, and no other index is paid for. */
  async list(merchantId: string, filter: PaymentFilter, limit: number): Promise<Payment[]> {
    const query = this.dataSource.manager
      .createQueryBuilder(PaymentEntity, 'p')
      .where('p.merchantId = :merchantId', { merchantId })
      .orderBy('p.transactionId', 'DESC')
      .limit(limit);
    if (filter.status) query.andWhere('p.status = :status', { status: filter.status });
    if (filter.currency) query.andWhere('p.currency = :currency', { currency: filter.currency });
    if (filter.userId) query.andWhere('p.userId = :userId', { userId: filter.userId });
    if (filter.createdGte) query.andWhere('p.createdAt >= :createdGte', { createdGte: filter.createdGte });
    if (filter.createdLt) query.andWhere('p.createdAt < :createdLt', { createdLt: filter.createdLt });
    if (filter.before) query.andWhere('p.transactionId < :before', { before: filter.before });
    const entities = await query.getMany();
    return entities.map((entity) => entity.toPayment());
  }
}
