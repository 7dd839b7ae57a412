import { Injectable } from '@nestjs/common';
import { batchOf } from '../../../src/database/batch.js';
import {
  PipelinedTransactions,
  writtenBy,
  type Transaction,
} from '../../../src/database/pipelined-transactions.js';
import type { PaymentFailure } from '../../../src/domain/payment.js';
import { GATEWAY_KEY, SCOPED_KEYS, type Claim } from '../../../src/idempotency/claims.store.js';
import type { ScopedKey } from '../../../src/idempotency/scoped-key.js';
import { SinkAddress, type ClaimedChange, type SettlementSink } from '../../../src/idempotency/settlement.js';

/** In a real room this is a migration and an entity. */
export const FLAGS_TABLE = `
  CREATE TABLE payment_flags (
    merchant_id uuid NOT NULL,
    idempotency_key text NOT NULL,
    gateway_key uuid NOT NULL,
    fingerprint text NOT NULL,
    transaction_id uuid NOT NULL,
    reason text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    reference text,
    failure jsonb,
    times_settled int NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant_id, idempotency_key)
  )`;

export interface NewFlag extends ScopedKey {
  reason: string;
}

/** A flag as the database holds it. The gateway key is that of the claim that made it. */
export interface Flag extends ScopedKey {
  gatewayKey: string;
  fingerprint: string;
  transactionId: string;
  reason: string;
  status: 'pending' | 'flagged' | 'refused';
  failure: PaymentFailure | null;
}

export interface FlagChange {
  to: 'flagged' | 'refused';
  reference: string | null;
  failure: PaymentFailure | null;
}

/** Where a settlement sends what became of a flag. */
export const FLAGS = new SinkAddress<FlagChange>('flags');

const NEW_FLAGS = batchOf<NewFlag>({
  merchant_id: ['uuid', (flag) => flag.merchantId],
  idempotency_key: ['text', (flag) => flag.idempotencyKey],
  reason: ['text', (flag) => flag.reason],
});

const SETTLED_FLAGS = batchOf<ClaimedChange<FlagChange>>({
  merchant_id: ['uuid', ({ claim }) => claim.merchantId],
  idempotency_key: ['text', ({ claim }) => claim.idempotencyKey],
  to_status: ['text', ({ change }) => change.to],
  reference: ['text', ({ change }) => change.reference],
  failure: ['jsonb', ({ change }) => change.failure && JSON.stringify(change.failure)],
});

/** The SQL of `payment_flags`. */
@Injectable()
export class FlagsStore implements SettlementSink<FlagChange> {
  readonly address = FLAGS;

  constructor(private readonly transactions: PipelinedTransactions) {}

  /** A key that has a flag already, because its claim was taken over or reaped, keeps that one. */
  async insertPending(tx: Transaction, flags: readonly NewFlag[]): Promise<ScopedKey[]> {
    const { rows } = await tx.query<ScopedKey>({
      name: 'flags.insert_pending',
      text: `
        INSERT INTO payment_flags AS f
          (merchant_id, idempotency_key, gateway_key, fingerprint, transaction_id, reason)
        SELECT k.merchant_id, k.idempotency_key, ${GATEWAY_KEY('k')}, k.fingerprint, k.resource_id, i.reason
        FROM ${NEW_FLAGS.rows('i')}
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE ${writtenBy('k', NEW_FLAGS.next)}
        ON CONFLICT (merchant_id, idempotency_key) DO NOTHING
        RETURNING f.merchant_id AS "merchantId", f.idempotency_key AS "idempotencyKey"`,
      values: [...NEW_FLAGS.values(flags), tx.token],
    });
    return rows;
  }

  async write(tx: Transaction, changes: readonly ClaimedChange<FlagChange>[]): Promise<void> {
    await tx.query({
      name: 'flags.settle',
      text: `
        UPDATE payment_flags f
        SET status = i.to_status, reference = i.reference, failure = i.failure,
          times_settled = f.times_settled + 1
        FROM ${SETTLED_FLAGS.rows('i')}
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE f.merchant_id = i.merchant_id AND f.idempotency_key = i.idempotency_key
          AND ${writtenBy('k', SETTLED_FLAGS.next)}`,
      values: [...SETTLED_FLAGS.values(changes), tx.token],
    });
  }

  /** Removes the pending flags of the claims that this transaction released. */
  async deletePending(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    await tx.query({
      name: 'flags.delete_pending',
      text: `
        DELETE FROM payment_flags f
        USING ${SCOPED_KEYS.rows('i')}
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE f.merchant_id = i.merchant_id AND f.idempotency_key = i.idempotency_key AND f.status = 'pending'
          AND ${writtenBy('k', SCOPED_KEYS.next)}`,
      values: [...SCOPED_KEYS.values(claims), tx.token],
    });
  }

  async findByKey({ merchantId, idempotencyKey }: ScopedKey): Promise<Flag | null> {
    const [flag] = await this.transactions.read<Flag>({
      name: 'flags.find_by_key',
      text: `
        SELECT merchant_id AS "merchantId", idempotency_key AS "idempotencyKey", gateway_key AS "gatewayKey",
          fingerprint, transaction_id AS "transactionId", reason, status, failure
        FROM payment_flags
        WHERE merchant_id = $1 AND idempotency_key = $2`,
      values: [merchantId, idempotencyKey],
    });
    return flag ?? null;
  }
}
