import { Injectable } from '@nestjs/common';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { uuidv7 } from '../ids/uuidv7.js';
import type { Claim } from './claims.store.js';
import type { ScopedKey } from './scoped-key.js';

/** The SQL that bars keys of `idempotency_keys` under which nothing was made. */
@Injectable()
export class SealedKeysStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Seals a key for ever, unless something was made under it: every later request with it is refused. The row is a
   * claim without an owner, so that a late request and its reversal race for one row. It never expires, because the
   * request may be days late. A released key is sealed too.
   * @param by the claim of the operation that seals the key. Fenced: a statement that arrives after the claim has gone
   * to another attempt, or was completed, seals nothing.
   * @param nothingMade SQL that is true if the products' tables have nothing for the key `i`
   * @returns false if the key belongs to a request, which may have ended long ago, or if the claim was lost.
   */
  async seal({ merchantId, idempotencyKey }: ScopedKey, by: Claim, nothingMade: string): Promise<boolean> {
    const rows = await this.transactions.writeBeside(merchantId + idempotencyKey, {
      name: 'sealed_keys.seal',
      text: `
        INSERT INTO idempotency_keys AS k
          (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status, attempt,
            lease_expires_at)
        SELECT i.merchant_id, i.idempotency_key, i.claim_id, b.operation, '', b.resource_id, 'reversed', 1,
          clock_timestamp()
        FROM (VALUES ($1::uuid, $2::text, $3::uuid)) AS i(merchant_id, idempotency_key, claim_id)
        JOIN idempotency_keys b ON b.merchant_id = i.merchant_id AND b.idempotency_key = $4
          AND b.claim_id = $5 AND b.attempt = $6 AND b.status = 'in_progress'
        WHERE ${nothingMade}
        ON CONFLICT (merchant_id, idempotency_key) DO UPDATE
          SET status = 'reversed', claim_id = EXCLUDED.claim_id, operation = EXCLUDED.operation,
            fingerprint = EXCLUDED.fingerprint, resource_id = EXCLUDED.resource_id, expires_at = NULL
          WHERE k.status IN ('released', 'reversed')
        RETURNING 1`,
      values: [merchantId, idempotencyKey, uuidv7(), by.idempotencyKey, by.claimId, by.attempt],
    });
    return rows.length > 0;
  }
}
