import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { validate as isUuid } from 'uuid';
import { batchOf } from '../database/batch.js';
import { writtenBy, type Transaction } from '../database/pipelined-transactions.js';
import { RefusedError } from '../domain/errors.js';
import type { Payment, PaymentFailure, PaymentStatus } from '../domain/payment.js';
import { GATEWAY_KEY, SCOPED_KEYS, type Claim } from '../idempotency/claims.store.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';
import { SinkAddress, type ClaimedChange, type SettlementSink } from '../idempotency/settlement.js';
import type { ChargeCommand } from './commands.js';
import { PaymentEntity } from './payment.entity.js';

/** A new payment, before anything has happened to it. */
export interface NewPayment extends ScopedKey {
  receivedAt: Date;
  command: ChargeCommand;
}

/** The settled outcome of an operation. It applies only while the payment's status is `from`. */
export interface PaymentChange {
  merchantId: string;
  transactionId: string;
  from: PaymentStatus;
  to: PaymentStatus;
  /** Null if the operation captures nothing. */
  amountCaptured: bigint | null;
  /** The part of `amount_refunded` that a failed refund returns. */
  refundGivenBack?: bigint;
  /** True for the capture or cancel that ends an authorization. */
  endsAuthorization?: boolean;
  failure: PaymentFailure | null;
  gatewayReference: string | null;
  /** How many events go with this change. The payment's counter numbers them. */
  events: 0 | 1;
  updatedAt: Date;
}

/** Where a settlement sends a payment's change. */
export const PAYMENTS = new SinkAddress<PaymentChange>('payments', (change) => change.transactionId);

/** A capture or cancel that wants an authorized payment for itself. A null amount means all of it. */
interface Hold extends ScopedKey {
  transactionId: string;
  amount: bigint | null;
}

/** A refund that wants part of what was captured. A null amount means all that is left. */
type RefundReservation = Hold;

/** The key that ended an authorization, and its request's fingerprint. */
interface AuthorizationEnd {
  idempotencyKey: string;
  fingerprint: string;
}

/** The payment made under a key. It is kept for ever, and answers once the claim has been reaped. */
interface PaymentOrigin {
  fingerprint: string;
  payment: Payment;
}

const NEW_PAYMENTS = batchOf<NewPayment>({
  merchant_id: ['uuid', (payment) => payment.merchantId],
  idempotency_key: ['text', (payment) => payment.idempotencyKey],
  user_id: ['uuid', ({ command }) => command.userId],
  amount: ['bigint', ({ command }) => command.amountMinor],
  currency: ['text', ({ command }) => command.currency],
  payment_method: ['text', ({ command }) => command.paymentMethod],
  capture_method: ['text', ({ command }) => command.captureMethod],
  description: ['text', ({ command }) => command.description],
  metadata: ['jsonb', ({ command }) => JSON.stringify(command.metadata)],
  created_at: ['timestamptz', (payment) => payment.receivedAt],
});

const SETTLED_PAYMENTS = batchOf<ClaimedChange<PaymentChange>>({
  merchant_id: ['uuid', ({ claim }) => claim.merchantId],
  idempotency_key: ['text', ({ claim }) => claim.idempotencyKey],
  transaction_id: ['uuid', ({ change }) => change.transactionId],
  from_status: ['text', ({ change }) => change.from],
  to_status: ['text', ({ change }) => change.to],
  amount_captured: ['bigint', ({ change }) => change.amountCaptured],
  refund_given_back: ['bigint', ({ change }) => change.refundGivenBack ?? 0n],
  failure_code: ['text', ({ change }) => change.failure?.code ?? null],
  failure_message: ['text', ({ change }) => change.failure?.message ?? null],
  gateway_reference: ['text', ({ change }) => change.gatewayReference],
  ends_authorization: ['boolean', ({ change }) => change.endsAuthorization ?? false],
  events: ['int', ({ change }) => change.events],
  updated_at: ['timestamptz', ({ change }) => change.updatedAt],
});

const HOLDS = batchOf<Hold>({
  merchant_id: ['uuid', (hold) => hold.merchantId],
  idempotency_key: ['text', (hold) => hold.idempotencyKey],
  transaction_id: ['uuid', (hold) => hold.transactionId],
  amount: ['bigint', (hold) => hold.amount],
});

/** The SQL of `payments`. Callers must sort arrays by key, so that two groups never lock rows in opposite orders. */
@Injectable()
export class PaymentsStore implements SettlementSink<PaymentChange> {
  readonly address = PAYMENTS;

  constructor(private readonly dataSource: DataSource) {}

  /**
   * Inserts pending payments for the claims that this transaction took, and returns the keys that got one. A key may
   * already have a payment, because its claim was taken over or its stored answer was reaped. That payment stays as it
   * is and is not even locked, so nobody waits for it here.
   */
  async insertPending(tx: Transaction, items: readonly NewPayment[]): Promise<ScopedKey[]> {
    const { rows } = await tx.query<ScopedKey>({
      name: 'payments.insert_pending',
      text: `
        INSERT INTO payments AS p
          (merchant_id, transaction_id, idempotency_key, claim_id, fingerprint, user_id, amount, currency, status,
            payment_method, capture_method, description, metadata, created_at, updated_at)
        SELECT k.merchant_id, k.resource_id, k.idempotency_key, ${GATEWAY_KEY('k')}, k.fingerprint, i.user_id,
          i.amount, i.currency, 'pending', i.payment_method, i.capture_method, i.description, i.metadata, i.created_at,
          i.created_at
        FROM ${NEW_PAYMENTS.rows('i')}
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE ${writtenBy('k', NEW_PAYMENTS.next)}
        ON CONFLICT (merchant_id, idempotency_key) DO NOTHING
        RETURNING p.merchant_id AS "merchantId", p.idempotency_key AS "idempotencyKey"`,
      values: [...NEW_PAYMENTS.values(items), tx.token],
    });
    return rows;
  }

  /**
   * Applies outcomes for the claims that this transaction completed, and counts the event that each may bring. The
   * claims are looked up first: if the planner chose the order of the join, it would try each of a merchant's payments
   * against each claim.
   */
  async write(tx: Transaction, changes: readonly ClaimedChange<PaymentChange>[]): Promise<void> {
    await tx.query({
      name: 'payments.settle',
      text: `
        WITH settled AS MATERIALIZED (
          SELECT i.*, k.fingerprint
          FROM ${SETTLED_PAYMENTS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', SETTLED_PAYMENTS.next)}
        )
        UPDATE payments p
        SET status = s.to_status, amount_captured = coalesce(s.amount_captured, p.amount_captured),
          amount_refunded = p.amount_refunded - s.refund_given_back, failure_code = s.failure_code,
          failure_message = s.failure_message, gateway_reference = coalesce(s.gateway_reference, p.gateway_reference),
          held_by = NULL, held_amount = NULL,
          closed_by_gateway_key = CASE WHEN s.ends_authorization THEN p.held_by ELSE p.closed_by_gateway_key END,
          closed_by_key = CASE WHEN s.ends_authorization THEN s.idempotency_key ELSE p.closed_by_key END,
          closed_by_fingerprint = CASE WHEN s.ends_authorization THEN s.fingerprint ELSE p.closed_by_fingerprint END,
          event_sequence = p.event_sequence + s.events, updated_at = s.updated_at, write_token = $${SETTLED_PAYMENTS.next}
        FROM settled s
        WHERE p.merchant_id = s.merchant_id AND p.transaction_id = s.transaction_id AND p.status = s.from_status`,
      values: [...SETTLED_PAYMENTS.values(changes), tx.token],
    });
  }

  /**
   * Counts the event that announces an open payment, if this transaction postponed its claim. A pending payment has no
   * earlier event, so this counts it once, however often the claim is postponed.
   */
  async countPending(tx: Transaction, claim: Claim, transactionId: string): Promise<void> {
    await tx.query({
      name: 'payments.count_pending',
      text: `
        WITH postponed AS MATERIALIZED (
          SELECT k.merchant_id
          FROM idempotency_keys k
          WHERE k.merchant_id = $1 AND k.idempotency_key = $2 AND ${writtenBy('k', 4)}
        )
        UPDATE payments p SET event_sequence = 1, write_token = $4
        FROM postponed k
        WHERE p.merchant_id = k.merchant_id AND p.transaction_id = $3
          AND p.status = 'pending' AND p.event_sequence = 0`,
      values: [claim.merchantId, claim.idempotencyKey, transactionId, tx.token],
    });
  }

  /** Removes the pending payments of claims that this transaction released: they had no effect, so nothing stays. */
  async deletePending(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    await tx.query({
      name: 'payments.delete_pending',
      text: `
        WITH released AS MATERIALIZED (
          SELECT k.merchant_id, k.resource_id
          FROM ${SCOPED_KEYS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', SCOPED_KEYS.next)}
        )
        DELETE FROM payments p
        USING released k
        WHERE p.merchant_id = k.merchant_id AND p.transaction_id = k.resource_id AND p.status = 'pending'`,
      values: [...SCOPED_KEYS.values(claims), tx.token],
    });
  }

  /**
   * Gives authorized payments to the claims that this transaction took: one claim per payment, and never more than was
   * authorized. A claim that is missing from the result was refused by the payment's state. A claim that was taken
   * over finds its own hold again, and leaves the gateway key in it as it is.
   */
  async hold(tx: Transaction, holds: readonly Hold[]): Promise<ScopedKey[]> {
    const { rows } = await tx.query<ScopedKey>({
      name: 'payments.hold',
      text: `
        WITH taken AS MATERIALIZED (
          SELECT i.*, k.claim_id, ${GATEWAY_KEY('k')} AS gateway_key
          FROM ${HOLDS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', HOLDS.next)}
        )
        UPDATE payments p
        SET held_by = coalesce(p.held_by, t.gateway_key), held_amount = coalesce(t.amount, p.amount)
        FROM taken t
        WHERE p.merchant_id = t.merchant_id AND p.transaction_id = t.transaction_id
          AND p.status = 'authorized' AND (p.held_by IS NULL OR p.held_by IN (t.gateway_key, t.claim_id))
          AND coalesce(t.amount, p.amount) <= p.amount
        RETURNING t.merchant_id AS "merchantId", t.idempotency_key AS "idempotencyKey"`,
      values: [...HOLDS.values(holds), tx.token],
    });
    return rows;
  }

  /** Drops the holds of the claims that this transaction released. */
  async dropHolds(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    await tx.query({
      name: 'payments.drop_holds',
      text: `
        WITH released AS MATERIALIZED (
          SELECT k.merchant_id, k.resource_id, k.claim_id, ${GATEWAY_KEY('k')} AS gateway_key
          FROM ${SCOPED_KEYS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', SCOPED_KEYS.next)}
        )
        UPDATE payments p SET held_by = NULL, held_amount = NULL
        FROM released k
        WHERE p.merchant_id = k.merchant_id AND p.transaction_id = k.resource_id
          AND p.held_by IN (k.gateway_key, k.claim_id)`,
      values: [...SCOPED_KEYS.values(claims), tx.token],
    });
  }

  /**
   * Reserves refunds for the claims that this transaction took. Together they never exceed what was captured: the row
   * lock queues transactions, and each sees what the one before it took. If the claim was taken over or reaped and its
   * refund already exists, nothing more is reserved.
   */
  async reserveRefunds(tx: Transaction, reservations: readonly RefundReservation[]): Promise<void> {
    await tx.query({
      name: 'payments.reserve_refunds',
      text: `
        WITH taken AS MATERIALIZED (
          SELECT i.*
          FROM ${HOLDS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', HOLDS.next)}
            AND NOT EXISTS (
              SELECT FROM refunds r
              WHERE r.merchant_id = i.merchant_id AND r.idempotency_key = i.idempotency_key)
        )
        UPDATE payments p
        SET amount_refunded = p.amount_refunded + coalesce(t.amount, p.amount_captured - p.amount_refunded),
          write_token = $${HOLDS.next}
        FROM taken t
        WHERE p.merchant_id = t.merchant_id AND p.transaction_id = t.transaction_id
          AND p.status = 'completed' AND p.amount_refunded < p.amount_captured
          AND p.amount_refunded + coalesce(t.amount, 0) <= p.amount_captured`,
      values: [...HOLDS.values(reservations), tx.token],
    });
  }

  async find(merchantId: string, transactionId: string): Promise<Payment | null> {
    const entity = await this.dataSource.manager.findOneBy(PaymentEntity, { merchantId, transactionId });
    return entity?.toPayment() ?? null;
  }

  /** @throws RefusedError `not_found` if the id is malformed, unknown, or belongs to another merchant. */
  async require(merchantId: string, transactionId: string): Promise<Payment> {
    const payment = isUuid(transactionId) ? await this.find(merchantId, transactionId) : null;
    if (payment === null) throw new RefusedError({ code: 'not_found', what: 'payment' });
    return payment;
  }

  /** The payment made under a key, with the fingerprint of the request that made it. */
  async findByKey({ merchantId, idempotencyKey }: ScopedKey): Promise<PaymentOrigin | null> {
    const entity = await this.dataSource.manager.findOneBy(PaymentEntity, { merchantId, idempotencyKey });
    return entity && { fingerprint: entity.fingerprint, payment: entity.toPayment() };
  }

  /** The capture or cancel that ended a payment's authorization, or null. */
  async findEnd(merchantId: string, transactionId: string): Promise<AuthorizationEnd | null> {
    const entity = await this.dataSource.manager.findOneBy(PaymentEntity, { merchantId, transactionId });
    if (entity === null || entity.endedByKey === null) return null;
    return { idempotencyKey: entity.endedByKey, fingerprint: entity.endedByFingerprint ?? '' };
  }
}
