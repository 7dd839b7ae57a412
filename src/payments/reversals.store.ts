import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { batchOf } from '../database/batch.js';
import { writtenBy, type Transaction } from '../database/pipelined-transactions.js';
import type { Reversal, ReversalFailure, ReversalOutcome, ReversalStatus } from '../domain/reversal.js';
import { SCOPED_KEYS, type Claim } from '../idempotency/claims.store.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';
import { SinkAddress, type ClaimedChange, type SettlementSink } from '../idempotency/settlement.js';
import { ReversalEntity } from './reversal.entity.js';

interface NewReversal extends ScopedKey {
  reversedKey: string;
  receivedAt: Date;
}

interface ReversalChange {
  reversalId: string;
  to: ReversalStatus;
  outcome: ReversalOutcome | null;
  transactionId: string | null;
  failure: ReversalFailure | null;
  updatedAt: Date;
}

/** Where a settlement sends a reversal's change. */
export const REVERSALS = new SinkAddress<ReversalChange>('reversals');

/** The reversal made under a key, with the fingerprint of the request that made it. */
interface ReversalOrigin {
  fingerprint: string;
  reversal: Reversal;
}

/** SQL that is true if none of our rows says that key `i` made something. */
export const NOTHING_MADE = `
  NOT EXISTS (
    SELECT FROM payments p WHERE p.merchant_id = i.merchant_id AND p.idempotency_key = i.idempotency_key)
  AND NOT EXISTS (
    SELECT FROM payments p WHERE p.merchant_id = i.merchant_id AND p.closed_by_key = i.idempotency_key)
  AND NOT EXISTS (
    SELECT FROM refunds r WHERE r.merchant_id = i.merchant_id AND r.idempotency_key = i.idempotency_key)
  AND NOT EXISTS (
    SELECT FROM reversals r WHERE r.merchant_id = i.merchant_id AND r.idempotency_key = i.idempotency_key)`;

const NEW_REVERSALS = batchOf<NewReversal>({
  merchant_id: ['uuid', (reversal) => reversal.merchantId],
  idempotency_key: ['text', (reversal) => reversal.idempotencyKey],
  reversed_key: ['text', (reversal) => reversal.reversedKey],
  created_at: ['timestamptz', (reversal) => reversal.receivedAt],
});

const SETTLED_REVERSALS = batchOf<ClaimedChange<ReversalChange>>({
  merchant_id: ['uuid', ({ claim }) => claim.merchantId],
  idempotency_key: ['text', ({ claim }) => claim.idempotencyKey],
  reversal_id: ['uuid', ({ change }) => change.reversalId],
  to_status: ['text', ({ change }) => change.to],
  outcome: ['text', ({ change }) => change.outcome],
  transaction_id: ['uuid', ({ change }) => change.transactionId],
  failure_code: ['text', ({ change }) => change.failure?.code ?? null],
  failure_message: ['text', ({ change }) => change.failure?.message ?? null],
  updated_at: ['timestamptz', ({ change }) => change.updatedAt],
});

/** The SQL of `reversals`. */
@Injectable()
export class ReversalsStore implements SettlementSink<ReversalChange> {
  readonly address = REVERSALS;

  constructor(private readonly dataSource: DataSource) {}

  /** Inserts pending reversals for the claims that this transaction took. A key that already has one keeps it. */
  async insertPending(tx: Transaction, reversals: readonly NewReversal[]): Promise<ScopedKey[]> {
    const { rows } = await tx.query<ScopedKey>({
      name: 'reversals.insert_pending',
      text: `
        INSERT INTO reversals AS r
          (merchant_id, reversal_id, idempotency_key, claim_id, steps_key, fingerprint, reversed_key, status, created_at,
            updated_at)
        SELECT k.merchant_id, k.resource_id, k.idempotency_key, k.claim_id, k.gateway_key, k.fingerprint, i.reversed_key,
          'pending', i.created_at, i.created_at
        FROM ${NEW_REVERSALS.rows('i')}
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE ${writtenBy('k', NEW_REVERSALS.next)}
        ON CONFLICT (merchant_id, idempotency_key) DO NOTHING
        RETURNING r.merchant_id AS "merchantId", r.idempotency_key AS "idempotencyKey"`,
      values: [...NEW_REVERSALS.values(reversals), tx.token],
    });
    return rows;
  }

  /** Applies outcomes for the claims that this transaction completed. */
  async write(tx: Transaction, changes: readonly ClaimedChange<ReversalChange>[]): Promise<void> {
    await tx.query({
      name: 'reversals.settle',
      text: `
        WITH settled AS MATERIALIZED (
          SELECT i.*
          FROM ${SETTLED_REVERSALS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', SETTLED_REVERSALS.next)}
        )
        UPDATE reversals r
        SET status = s.to_status, outcome = s.outcome, transaction_id = s.transaction_id,
          failure_code = s.failure_code, failure_message = s.failure_message, updated_at = s.updated_at
        FROM settled s
        WHERE r.merchant_id = s.merchant_id AND r.reversal_id = s.reversal_id AND r.status = 'pending'`,
      values: [...SETTLED_REVERSALS.values(changes), tx.token],
    });
  }

  /** Removes the pending reversals of the claims that this transaction released. */
  async undoPending(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    await tx.query({
      name: 'reversals.undo_pending',
      text: `
        WITH released AS MATERIALIZED (
          SELECT k.merchant_id, k.resource_id
          FROM ${SCOPED_KEYS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)
          WHERE ${writtenBy('k', SCOPED_KEYS.next)}
        )
        DELETE FROM reversals r
        USING released k
        WHERE r.merchant_id = k.merchant_id AND r.reversal_id = k.resource_id AND r.status = 'pending'`,
      values: [...SCOPED_KEYS.values(claims), tx.token],
    });
  }

  async find(merchantId: string, reversalId: string): Promise<Reversal | null> {
    const entity = await this.dataSource.manager.findOneBy(ReversalEntity, { merchantId, reversalId });
    return entity?.toReversal() ?? null;
  }

  async findByKey({ merchantId, idempotencyKey }: ScopedKey): Promise<ReversalOrigin | null> {
    const entity = await this.dataSource.manager.findOneBy(ReversalEntity, { merchantId, idempotencyKey });
    return entity && { fingerprint: entity.fingerprint, reversal: entity.toReversal() };
  }
}
