import { Injectable } from '@nestjs/common';
import { batchOf } from '../database/batch.js';
import { PipelinedTransactions, writtenBy, type Transaction } from '../database/pipelined-transactions.js';
import { CLAIM_COLUMNS, FENCED_CLAIMS, SCOPED_KEYS, STILL_IN_PROGRESS, type Claim } from './claims.store.js';
import { identityOf, type ScopedKey } from './scoped-key.js';

/** Calls that the gateway has not answered. */
export interface UnknownOutcomes {
  count: number;
  oldestSeconds: number;
}

/**
 * Why a claim is left open: the gateway could only not be reached, it may have acted, or it has another call under our
 * key, which a person has to look at.
 */
export type PostponeReason = 'not reached' | 'unknown' | 'key taken';

/** The recovery worker's pauses between two inquiries about one call. They go on until there is an answer. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 300_000;

const RESOURCES = batchOf<string>({
  resource_id: ['uuid', (resourceId) => resourceId],
});

const NOTIFICATIONS = batchOf<{ gateway: string; eventId: string }>({
  gateway: ['text', (notification) => notification.gateway],
  event_id: ['text', (notification) => notification.eventId],
});

/**
 * The SQL of claims whose owner died or whose outcome is unknown: when they are due, and which process continues them.
 */
@Injectable()
export class OpenClaimsStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Takes over claims whose lease ran out, oldest first. Several workers share the work, because each skips locked
   * rows.
   * @param operations the names that this process knows. It could only spoil a claim of another operation: a newer
   * process that continues it would find its attempt raised, and wait for a lease that nobody uses.
   */
  takeExpired(operations: readonly string[], leaseMs: number, limit: number): Promise<Claim[]> {
    return this.transactions.read<Claim>({
      name: 'open_claims.take_expired',
      text: `
        UPDATE idempotency_keys k
        SET attempt = k.attempt + 1, known_attempt = k.attempt + 1, resumed = true,
          lease_expires_at = clock_timestamp() + $1 * interval '1 millisecond'
        FROM (
          SELECT merchant_id, idempotency_key FROM idempotency_keys
          WHERE status = 'in_progress' AND lease_expires_at <= clock_timestamp()
            AND (recover_after IS NULL OR recover_after <= clock_timestamp())
            AND operation = ANY ($3::text[])
          ORDER BY lease_expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) expired
        WHERE k.merchant_id = expired.merchant_id AND k.idempotency_key = expired.idempotency_key
        RETURNING ${CLAIM_COLUMNS}`,
      values: [leaseMs, limit, operations],
    });
  }

  /**
   * Takes over those of these claims whose lease has ended. The caller names the claims, so their pause does not count.
   * @param operations as in {@link takeExpired}
   */
  takeIdle(operations: readonly string[], keys: readonly ScopedKey[], leaseMs: number): Promise<Claim[]> {
    const { next } = SCOPED_KEYS;
    return this.transactions.writeBeside<Claim>(keys.map(identityOf).join(' '), {
      name: 'open_claims.take_idle',
      text: `
        UPDATE idempotency_keys k
        SET attempt = k.attempt + 1, known_attempt = k.attempt + 1, resumed = true,
          lease_expires_at = clock_timestamp() + $${next} * interval '1 millisecond'
        FROM ${SCOPED_KEYS.rows('i')}
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND ${STILL_IN_PROGRESS} AND k.lease_expires_at <= clock_timestamp()
          AND k.operation = ANY ($${next + 1}::text[])
        RETURNING ${CLAIM_COLUMNS}`,
      values: [...SCOPED_KEYS.values(keys), leaseMs, operations],
    });
  }

  /**
   * Makes the end of a call and the provider's notifications about the same payment or refund take turns, until this
   * transaction ends. Otherwise each could miss what the other writes: the notification finds no waiting claim, the
   * end of the call finds no notification, and the hint is lost. Ids must be sorted.
   */
  async lockResources(tx: Transaction, resourceIds: readonly string[]): Promise<void> {
    await tx.query({
      name: 'open_claims.lock_resources',
      text: `
        SELECT pg_advisory_xact_lock(hashtextextended(i.resource_id::text, 0))
        FROM ${RESOURCES.rows('i')}`,
      values: RESOURCES.values(resourceIds),
    });
  }

  /**
   * Makes claims due at once if they wait for a payment or refund that this transaction's new notifications are about,
   * and returns the ids of those payments and refunds. A locked row is being taken, settled or released right now, and
   * needs no hint.
   */
  async hasten(
    tx: Transaction,
    notifications: readonly { gateway: string; eventId: string }[],
  ): Promise<Set<string>> {
    const { rows } = await tx.query<{ resourceId: string }>({
      name: 'open_claims.hasten',
      text: `
        WITH fresh AS MATERIALIZED (
          SELECT n.resource_id
          FROM ${NOTIFICATIONS.rows('i')}
          JOIN gateway_notifications n USING (gateway, event_id)
          WHERE ${writtenBy('n', NOTIFICATIONS.next)}
        ), waiting AS MATERIALIZED (
          SELECT w.merchant_id, w.idempotency_key
          FROM fresh f
          JOIN idempotency_keys w ON w.resource_id = f.resource_id
          WHERE w.status = 'in_progress' AND w.recover_after IS NOT NULL
          FOR UPDATE OF w SKIP LOCKED
        )
        UPDATE idempotency_keys k SET recover_after = least(k.recover_after, clock_timestamp())
        FROM waiting w
        WHERE k.merchant_id = w.merchant_id AND k.idempotency_key = w.idempotency_key
        RETURNING k.resource_id AS "resourceId"`,
      values: [...NOTIFICATIONS.values(notifications), tx.token],
    });
    return new Set(rows.map(({ resourceId }) => resourceId));
  }

  /**
   * Ends the lease of a claim whose call has no known end. The next retry may continue it at once, and the recovery
   * worker after a pause that doubles from try to try. There is no pause if the provider has sent a notification about
   * the payment or refund since this attempt began: by now it may know more than it answered. Earlier notifications do
   * not count, or we would inquire about an outcome that stays unknown without any pause. Fenced.
   * @param reason why the call has no end.
   * @param leaseMs the lease that the claim was taken with.
   * @returns whether it is due at once.
   */
  async postpone(tx: Transaction, claim: Claim, reason: PostponeReason, leaseMs: number): Promise<boolean> {
    const { next } = FENCED_CLAIMS;
    const { rows } = await tx.query<{ due: boolean }>({
      name: 'open_claims.postpone',
      text: `
        UPDATE idempotency_keys k
        SET lease_expires_at = clock_timestamp(), write_token = $${next + 4},
          unknown_since = CASE WHEN $${next} THEN coalesce(k.unknown_since, clock_timestamp()) ELSE k.unknown_since END,
          gateway_key_taken = CASE WHEN $${next + 5} THEN true ELSE k.gateway_key_taken END,
          recover_after = clock_timestamp() + CASE
            WHEN EXISTS (
              SELECT FROM gateway_notifications n
              WHERE n.resource_id = k.resource_id
                AND n.received_at >= k.lease_expires_at - $${next + 3} * interval '1 millisecond')
            THEN interval '0'
            ELSE least($${next + 1} * power(2, least(k.attempt, 30) - 1), $${next + 2}) * interval '1 millisecond'
          END
        FROM ${FENCED_CLAIMS.rows('i')}
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}
        RETURNING k.recover_after <= clock_timestamp() AS due`,
      values: [
        ...FENCED_CLAIMS.values([claim]),
        reason !== 'not reached',
        FIRST_PAUSE_MS,
        LONGEST_PAUSE_MS,
        leaseMs,
        tx.token,
        reason === 'key taken',
      ],
    });
    return rows[0]?.due === true;
  }

  /**
   * How many gateway calls have no known outcome, and the age of the oldest.
   * @param composites the names of operations that call no gateway themselves: they only wait for such calls.
   */
  async unknownOutcomes(composites: readonly string[]): Promise<UnknownOutcomes> {
    const [row] = await this.transactions.read<UnknownOutcomes>({
      name: 'open_claims.unknown_outcomes',
      text: `
        SELECT count(*)::int AS count,
          coalesce(extract(epoch FROM clock_timestamp() - min(unknown_since)), 0)::float8 AS "oldestSeconds"
        FROM idempotency_keys
        WHERE status = 'in_progress' AND unknown_since IS NOT NULL AND operation <> ALL ($1::text[])`,
      values: [composites],
    });
    return row ?? { count: 0, oldestSeconds: 0 };
  }
}
