import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import canonicalize from 'canonicalize';
import { CONFIG, type Config } from '../config/config.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';

/**
 * Keys for requests that send none. Requests with one fingerprint (operation, parameters and body, `user_id` included)
 * share a key from the first of them until the window ends; the next request starts another. The row's lock and the
 * database's clock decide, so neither a clock boundary nor a second process can make two keys out of one.
 *
 * The window counts from the first request, not from the last. Otherwise a customer who buys the same thing every half
 * hour would pay once for all of them.
 */
@Injectable()
export class DerivedKeysStore {
  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly transactions: PipelinedTransactions,
  ) {}

  /** SHA-256, in hexadecimal, over the canonical JSON of the request and the time when it was first made. */
  async keyFor(merchantId: string, fingerprint: string): Promise<string> {
    const rows = await this.transactions.writeBeside<{ firstSeenAt: Date }>(merchantId + fingerprint, {
      name: 'derived_keys.key_for',
      text: `
        INSERT INTO derived_keys AS d (merchant_id, fingerprint, first_seen_at)
        VALUES ($1, $2, clock_timestamp())
        ON CONFLICT (merchant_id, fingerprint) DO UPDATE SET first_seen_at =
          CASE WHEN d.first_seen_at > clock_timestamp() - $3 * interval '1 millisecond'
            THEN d.first_seen_at ELSE clock_timestamp() END
        RETURNING first_seen_at AS "firstSeenAt"`,
      values: [merchantId, fingerprint, this.config.idempotencyDerivedWindowMs],
    });
    const since = rows[0]?.firstSeenAt.toISOString();
    return createHash('sha256')
      .update(canonicalize({ fingerprint, since }) ?? '')
      .digest('hex');
  }

  /** Deletes rows whose window is over, and returns how many. */
  async reap(limit: number): Promise<number> {
    const rows = await this.transactions.read({
      name: 'derived_keys.reap',
      text: `
        DELETE FROM derived_keys d
        USING (
          SELECT merchant_id, fingerprint FROM derived_keys
          WHERE first_seen_at <= clock_timestamp() - $1 * interval '1 millisecond'
          ORDER BY first_seen_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) reaped
        WHERE d.merchant_id = reaped.merchant_id AND d.fingerprint = reaped.fingerprint
        RETURNING 1`,
      values: [this.config.idempotencyDerivedWindowMs, limit],
    });
    return rows.length;
  }
}
