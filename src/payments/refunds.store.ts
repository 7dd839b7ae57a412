import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { batchOf } from '../database/batch.js';
import { writtenBy, type Transaction } from '../database/pipelined-transactions.js';
import type { PaymentFailure } from '../domain/payment.js';
import type { Refund, RefundStatus } from '../domain/refund.js';
import { GATEWAY_KEY, SCOPED_KEYS, type Claim } from '../idempotency/claims.store.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';
import { SinkAddress, type ClaimedChange, type SettlementSink } from '../idempotency/settlement.js';
import { RefundEntity } from './refund.entity.js';

/** A refund to insert as `pending`, if this transaction reserved its amount. A null amount means all that is left. */
export interface NewRefund extends ScopedKey {
  transactionId: string;
  amount: bigint | null;
  reason: string | null;
  receivedAt: Date;
}

interface RefundChange {
  refundId: string;
  to: RefundStatus;
  failure: PaymentFailure | null;
  gatewayReference: string | null;
  updatedAt: Date;
}

/** Where a settlement sends a refund's change. */
export const REFUNDS = new SinkAddress<RefundChange>('refunds');

/** The refund made under a key. */
export interface RefundOrigin {
  fingerprint: string;
  refund: Refund;
}

/** The state of a payment's refunds as a whole. */
interface RefundsStanding {
  givenBack: bigint;
  pendingKeys: string[];
}

const NEW_REFUNDS = batchOf<NewRefund>({
  merchant_id: ['uuid', (refund) => refund.merchantId],
  idempotency_key: ['text', (refund) => refund.idempotencyKey],
  transaction_id: ['uuid', (refund) => refund.transactionId],
  amount: ['bigint', (refund) => refund.amount],
  reason: ['text', (refund) => refund.reason],
  created_at: ['timestamptz', (refund) => refund.receivedAt],
});

const SETTLED_REFUNDS = batchOf<ClaimedChange<RefundChange>>({
  merchant_id: ['uuid', ({ claim }) => claim.merchantId],
  idempotency_key: ['text', ({ claim }) => claim.idempotencyKey],
  refund_id: ['uuid', ({ change }) => change.refundId],
  to_status: ['text', ({ change }) => change.to],
  failure_code: ['text', ({ change }) => change.failure?.code ?? null],
  failure_message: ['text', ({ change }) => change.failure?.message ?? null],
  gateway_reference: ['text', ({ change }) => change.gatewayReference],
  updated_at: ['timestamptz', ({ change }) => change.updatedAt],
});

/** The SQL of `refunds`. The payment's row limits their amounts: see `payments.store.ts`. */
@Injectable()
export class RefundsStore implements SettlementSink<RefundChange> {
  readonly address = REFUNDS;

  constructor(private readonly dataSource: DataSource) {}

  /**
   * Inserts refunds for the payments on which this transaction reserved an amount. A refund of "all that is left" is
   * captured minus the other refunds; the lock on the payment keeps those from changing.
   */
  async insertPending(tx: Transaction, refunds: readonly NewRefund[]): Promise<ScopedKey[]> {
    const { rows } = await tx.query<ScopedKey>({
      name: 'refunds.insert_pending',
      text: `
        WITH taken AS MATERIALIZED (
          SELECT i.*, k.resource_id, ${GATEWAY_KEY('k')} AS gateway_key, k.fingerprint
          FROM ${NEW_REFUNDS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', NEW_REFUNDS.next)}
        )
        INSERT INTO refunds AS r
          (merchant_id, refund_id, transaction_id, idempotency_key, claim_id, fingerprint, amount, currency, status,
            reason, created_at, updated_at)
        SELECT t.merchant_id, t.resource_id, p.transaction_id, t.idempotency_key, t.gateway_key, t.fingerprint,
          coalesce(t.amount, p.amount_captured - (
            SELECT coalesce(sum(o.amount), 0) FROM refunds o
            WHERE o.merchant_id = p.merchant_id AND o.transaction_id = p.transaction_id AND o.status <> 'failed')),
          p.currency, 'pending', t.reason, t.created_at, t.created_at
        FROM taken t
        JOIN payments p USING (merchant_id, transaction_id)
        WHERE ${writtenBy('p', NEW_REFUNDS.next)}
        RETURNING r.merchant_id AS "merchantId", r.idempotency_key AS "idempotencyKey"`,
      values: [...NEW_REFUNDS.values(refunds), tx.token],
    });
    return rows;
  }

  /** Applies outcomes for the claims that this transaction completed. */
  async write(tx: Transaction, changes: readonly ClaimedChange<RefundChange>[]): Promise<void> {
    await tx.query({
      name: 'refunds.settle',
      text: `
        WITH settled AS MATERIALIZED (
          SELECT i.*
          FROM ${SETTLED_REFUNDS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', SETTLED_REFUNDS.next)}
        )
        UPDATE refunds r
        SET status = s.to_status, failure_code = s.failure_code, failure_message = s.failure_message,
          gateway_reference = s.gateway_reference, updated_at = s.updated_at
        FROM settled s
        WHERE r.merchant_id = s.merchant_id AND r.refund_id = s.refund_id AND r.status = 'pending'`,
      values: [...SETTLED_REFUNDS.values(changes), tx.token],
    });
  }

  /**
   * Removes the pending refunds of claims that this transaction released, and returns their amounts to the payments.
   */
  async undoPending(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    await tx.query({
      name: 'refunds.undo_pending',
      text: `
        WITH released AS MATERIALIZED (
          SELECT k.merchant_id, k.resource_id
          FROM ${SCOPED_KEYS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', SCOPED_KEYS.next)}
        ), undone AS (
          DELETE FROM refunds r
          USING released k
          WHERE r.merchant_id = k.merchant_id AND r.refund_id = k.resource_id AND r.status = 'pending'
          RETURNING r.merchant_id, r.transaction_id, r.amount
        )
        UPDATE payments p SET amount_refunded = p.amount_refunded - u.amount
        FROM undone u
        WHERE p.merchant_id = u.merchant_id AND p.transaction_id = u.transaction_id`,
      values: [...SCOPED_KEYS.values(claims), tx.token],
    });
  }

  async find(merchantId: string, refundId: string): Promise<Refund | null> {
    const entity = await this.dataSource.manager.findOneBy(RefundEntity, { merchantId, refundId });
    return entity?.toRefund() ?? null;
  }

  async findByKey({ merchantId, idempotencyKey }: ScopedKey): Promise<RefundOrigin | null> {
    const entity = await this.dataSource.manager.findOneBy(RefundEntity, { merchantId, idempotencyKey });
    return entity && { fingerprint: entity.fingerprint, refund: entity.toRefund() };
  }

  /** How much a payment's completed refunds gave back, and the keys of the refunds that are still open. */
  async standing(merchantId: string, transactionId: string): Promise<RefundsStanding> {
    const entities = await this.dataSource.manager.findBy(RefundEntity, { merchantId, transactionId });
    const of = (status: RefundStatus) => entities.filter((entity) => entity.status === status);
    return {
      givenBack: of('completed').reduce((sum, { amount }) => sum + BigInt(amount), 0n),
      pendingKeys: of('pending').map(({ idempotencyKey }) => idempotencyKey),
    };
  }

  /** A payment's refunds, newest first. */
  async list(
    merchantId: string,
    transactionId: string,
    before: string | undefined,
    limit: number,
  ): Promise<Refund[]> {
    const query = this.dataSource.manager
      .createQueryBuilder(RefundEntity, 'r')
      .where('r.merchantId = :merchantId AND r.transactionId = :transactionId', { merchantId, transactionId })
      .orderBy('r.refundId', 'DESC')
      .limit(limit);
    if (before !== undefined) query.andWhere('r.refundId < :before', { before });
    const entities = await query.getMany();
    return entities.map((entity) => entity.toRefund());
  }
}
