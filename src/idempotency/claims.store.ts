import { Injectable } from '@nestjs/common';
import { batchOf } from '../database/batch.js';
import { PipelinedTransactions, type Transaction } from '../database/pipelined-transactions.js';
import { uuidv7 } from '../ids/uuidv7.js';
import type { ScopedKey } from './scoped-key.js';

/** An answer as it goes over the wire, byte for byte, the first time and at every replay. */
export interface StoredAnswer {
  status: number;
  contentType: string;
  location: string | null;
  body: string;
}

/** A request for the right to run an operation. `claimId` and `resourceId` are used only if the key is new. */
export interface ClaimRequest extends ScopedKey {
  claimId: string;
  operation: string;
  fingerprint: string;
  resourceId: string;
  /** How long the answer is kept. Null means the configured time. */
  lifetimeMs: number | null;
}

/** The right to run an operation until the lease ends. Every later write carries `attempt`, the fence. */
export interface Claim extends ScopedKey {
  claimId: string;
  operation: string;
  fingerprint: string;
  resourceId: string;
  attempt: number;
  /** How long the answer is kept. Null means the configured time. */
  lifetimeMs: number | null;
  /** True when an earlier try may have called the gateway. Then "no effect" from this try proves nothing. */
  resumed: boolean;
  /** Since when a call that we sent has had no known outcome. Null if there is none. */
  unknownSince: Date | null;
}

/** The state of a key, as another request sees it. */
export interface ClaimState extends Claim {
  /** `reversed`: the key was sealed before a request with it arrived, or after such a request was released. */
  status: 'in_progress' | 'completed' | 'released' | 'reversed';
  /** Judged by the database's clock. */
  leaseExpired: boolean;
  leaseRemainingMs: number;
  answer: StoredAnswer | null;
  createdAt: Date;
  expiresAt: Date | null;
}

interface Completion {
  claim: Claim;
  answer: StoredAnswer;
}

/**
 * True for a row version that this very transaction wrote. Statements in a pipelined transaction cannot use each
 * other's results. With this condition a later one acts on exactly the claims that an earlier one took or completed; a
 * row that was only locked, or that another attempt wrote, does not match.
 */
export const WRITTEN_BY_THIS_TRANSACTION = (alias: string): string =>
  `${alias}.xmin = pg_current_xact_id()::xid`;

/**
 * Written so that the planner cannot use the partial index on leases. Without statistics it would think that index the
 * smaller one, and would read all claims in progress for each claim of a group.
 */
export const STILL_IN_PROGRESS = `k.status NOT IN ('completed', 'released', 'reversed')`;

export const CLAIM_COLUMNS = `
  k.merchant_id AS "merchantId", k.idempotency_key AS "idempotencyKey", k.claim_id AS "claimId", k.operation,
  k.fingerprint, k.resource_id AS "resourceId", k.attempt, k.resumed, k.unknown_since AS "unknownSince",
  k.lifetime_ms::float8 AS "lifetimeMs"`;

/** Idempotency keys, each with its merchant. */
export const SCOPED_KEYS = batchOf<ScopedKey>({
  merchant_id: ['uuid', (key) => key.merchantId],
  idempotency_key: ['text', (key) => key.idempotencyKey],
});

/** The columns that a fenced statement matches claims by. */
export const FENCED_CLAIMS = batchOf<Claim>({
  merchant_id: ['uuid', (claim) => claim.merchantId],
  idempotency_key: ['text', (claim) => claim.idempotencyKey],
  claim_id: ['uuid', (claim) => claim.claimId],
  attempt: ['int', (claim) => claim.attempt],
});

const CLAIM_REQUESTS = batchOf<ClaimRequest>({
  merchant_id: ['uuid', (request) => request.merchantId],
  idempotency_key: ['text', (request) => request.idempotencyKey],
  claim_id: ['uuid', (request) => request.claimId],
  operation: ['text', (request) => request.operation],
  fingerprint: ['text', (request) => request.fingerprint],
  resource_id: ['uuid', (request) => request.resourceId],
  lifetime_ms: ['bigint', (request) => request.lifetimeMs],
});

const COMPLETIONS = batchOf<Completion>({
  merchant_id: ['uuid', ({ claim }) => claim.merchantId],
  idempotency_key: ['text', ({ claim }) => claim.idempotencyKey],
  claim_id: ['uuid', ({ claim }) => claim.claimId],
  attempt: ['int', ({ claim }) => claim.attempt],
  fingerprint: ['text', ({ claim }) => claim.fingerprint],
  resource_id: ['uuid', ({ claim }) => claim.resourceId],
  status: ['smallint', ({ answer }) => answer.status],
  content_type: ['text', ({ answer }) => answer.contentType],
  location: ['text', ({ answer }) => answer.location],
  body: ['text', ({ answer }) => answer.body],
});

/**
 * The SQL of `idempotency_keys`, for a claim from its request to its answer. The SQL that continues claims left open
 * is in `open-claims.store.ts`. Callers must sort arrays by key, so that two groups never lock rows in opposite
 * orders.
 */
@Injectable()
export class ClaimsStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Claims new keys, and takes over keys whose lease ran out if the fingerprint is the same. A released key goes to
   * the next request: the same request continues under its claim id, which is the gateway's key, while a different
   * request gets a claim of its own, since the first surely had no effect. If a request's first commit may have
   * succeeded, it finds its own claim again, and learns whether another has worked on it since.
   *
   * A key that is not returned belongs to another request or is completed. Read it with {@link find} in a later
   * statement, because one statement sees neither the row that caused its conflict nor the other request's row.
   */
  async take(tx: Transaction, requests: readonly ClaimRequest[], leaseMs: number): Promise<Claim[]> {
    const { rows } = await tx.query<Claim>({
      name: 'claims.take',
      text: `
        INSERT INTO idempotency_keys AS k
          (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, lifetime_ms, status, attempt,
            lease_expires_at)
        SELECT i.*, 'in_progress', 1, clock_timestamp() + $${CLAIM_REQUESTS.next} * interval '1 millisecond'
        FROM ${CLAIM_REQUESTS.rows('i')}
        ON CONFLICT (merchant_id, idempotency_key) DO UPDATE
          SET status = 'in_progress', attempt = k.attempt + 1, lease_expires_at = EXCLUDED.lease_expires_at,
            resumed = k.status = 'in_progress' AND (k.resumed OR k.claim_id <> EXCLUDED.claim_id),
            operation = EXCLUDED.operation, fingerprint = EXCLUDED.fingerprint, lifetime_ms = EXCLUDED.lifetime_ms,
            claim_id = CASE WHEN k.fingerprint = EXCLUDED.fingerprint THEN k.claim_id ELSE EXCLUDED.claim_id END,
            resource_id = CASE WHEN k.fingerprint = EXCLUDED.fingerprint THEN k.resource_id ELSE EXCLUDED.resource_id END
          WHERE k.status = 'released'
            OR k.status = 'in_progress' AND k.fingerprint = EXCLUDED.fingerprint
              AND (k.lease_expires_at <= clock_timestamp() OR k.claim_id = EXCLUDED.claim_id)
        RETURNING ${CLAIM_COLUMNS}`,
      values: [...CLAIM_REQUESTS.values(requests), leaseMs],
    });
    return rows;
  }

  /** Stores final answers. Fenced: a claim that has gone to another attempt stays as it is and is not returned. */
  async complete(
    tx: Transaction,
    completions: readonly Completion[],
    retentionMs: number,
  ): Promise<Set<string>> {
    const { rows } = await tx.query<{ claimId: string }>({
      name: 'claims.complete',
      text: `
        UPDATE idempotency_keys k
        SET status = 'completed', response_status = i.status, response_content_type = i.content_type,
          response_location = i.location, response_body = i.body, fingerprint = i.fingerprint, resource_id = i.resource_id,
          expires_at = clock_timestamp() + coalesce(k.lifetime_ms, $${COMPLETIONS.next}) * interval '1 millisecond'
        FROM ${COMPLETIONS.rows('i')}
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}
        RETURNING k.claim_id AS "claimId"`,
      values: [...COMPLETIONS.values(completions), retentionMs],
    });
    return new Set(rows.map((row) => row.claimId));
  }

  /** Releases keys after a try that surely had no effect: the next request with such a key may run at once. Fenced. */
  async release(tx: Transaction, claims: readonly Claim[], retentionMs: number): Promise<number> {
    const { rowCount } = await tx.query({
      name: 'claims.release',
      text: `
        UPDATE idempotency_keys k
        SET status = 'released', expires_at = clock_timestamp() + $${FENCED_CLAIMS.next} * interval '1 millisecond'
        FROM ${FENCED_CLAIMS.rows('i')}
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}`,
      values: [...FENCED_CLAIMS.values(claims), retentionMs],
    });
    return rowCount ?? 0;
  }

  /**
   * Seals a key for ever, unless something was made under it: every later request with it is refused. The row is a
   * claim without an owner, so that a late request and its reversal race for one row. It never expires, because the
   * request may be days late. A released key is sealed too.
   * @param resource what seals it: an operation's name, and the id of what that operation made
   * @param nothingMade SQL that is true if the products' tables have nothing for the key `i`
   * @returns false if the key belongs to a request, even one that ended long ago.
   */
  async seal(
    { merchantId, idempotencyKey }: ScopedKey,
    { operation, resourceId }: { operation: string; resourceId: string },
    nothingMade: string,
  ): Promise<boolean> {
    const rows = await this.transactions.read({
      name: 'claims.seal',
      text: `
        INSERT INTO idempotency_keys AS k
          (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status, attempt,
            lease_expires_at)
        SELECT i.*, 'reversed', 1, clock_timestamp()
        FROM (VALUES ($1::uuid, $2::text, $3::uuid, $5::text, '', $4::uuid))
          AS i(merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id)
        WHERE ${nothingMade}
        ON CONFLICT (merchant_id, idempotency_key) DO UPDATE
          SET status = 'reversed', claim_id = EXCLUDED.claim_id, operation = EXCLUDED.operation,
            fingerprint = EXCLUDED.fingerprint, resource_id = EXCLUDED.resource_id, expires_at = NULL
          WHERE k.status IN ('released', 'reversed')
        RETURNING 1`,
      values: [merchantId, idempotencyKey, uuidv7(), resourceId, operation],
    });
    return rows.length > 0;
  }

  /** The keys' current states. A key that was never used is missing. */
  find(keys: readonly ScopedKey[]): Promise<ClaimState[]> {
    return this.transactions
      .read<ClaimStateRow>({
        name: 'claims.find',
        text: `
          SELECT ${CLAIM_COLUMNS}, k.status, k.created_at AS "createdAt", k.expires_at AS "expiresAt",
            k.lease_expires_at <= clock_timestamp() AS "leaseExpired",
            greatest(0, extract(epoch FROM k.lease_expires_at - clock_timestamp()) * 1000)::float8 AS "leaseRemainingMs",
            k.response_status AS "responseStatus", k.response_content_type AS "responseContentType",
            k.response_location AS "responseLocation", k.response_body AS "responseBody"
          FROM ${SCOPED_KEYS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)`,
        values: SCOPED_KEYS.values(keys),
      })
      .then((rows) => rows.map(toClaimState));
  }

  /**
   * Deletes expired stored answers and released keys, and returns how many. What was made under a key still carries
   * it.
   */
  async reap(limit: number): Promise<number> {
    const rows = await this.transactions.read({
      name: 'claims.reap',
      text: `
        DELETE FROM idempotency_keys k
        USING (
          SELECT merchant_id, idempotency_key FROM idempotency_keys
          WHERE status <> 'in_progress' AND expires_at <= clock_timestamp()
          ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ) reaped
        WHERE k.merchant_id = reaped.merchant_id AND k.idempotency_key = reaped.idempotency_key
        RETURNING 1`,
      values: [limit],
    });
    return rows.length;
  }
}

interface ClaimStateRow extends Omit<ClaimState, 'answer'> {
  responseStatus: number | null;
  responseContentType: string | null;
  responseLocation: string | null;
  responseBody: string | null;
}

function toClaimState(row: ClaimStateRow): ClaimState {
  const { responseStatus, responseContentType, responseLocation, responseBody, ...claim } = row;
  const answered = responseStatus !== null && responseContentType !== null && responseBody !== null;
  return {
    ...claim,
    answer: answered
      ? {
          status: responseStatus,
          contentType: responseContentType,
          location: responseLocation,
          body: responseBody,
        }
      : null,
  };
}
