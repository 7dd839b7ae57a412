import { Injectable } from '@nestjs/common';
import { batchOf } from '../database/batch.js';
import { PipelinedTransactions, type Transaction } from '../database/pipelined-transactions.js';
import { LOST_TAIL_COLUMNS } from './restores.store.js';
import type { ScopedKey } from './scoped-key.js';

/** An answer as it goes over the wire, byte for byte, the first time and at every replay. */
export interface StoredAnswer {
  status: number;
  contentType: string;
  location: string | null;
  body: string;
}

/** Asks for the right to run an operation. `claimId` and `resourceId` are used unless `seen` is continued. */
export interface ClaimRequest extends ScopedKey {
  claimId: string;
  /** Null if the operation calls no gateway. */
  gatewayKey: string | null;
  operation: string;
  fingerprint: string;
  resourceId: string;
  /** How long the answer is kept. Null means the configured time. */
  lifetimeMs: number | null;
  /** The claim that this request has read and wants to take. Without one it takes only a key that is new. */
  seen?: SeenClaim;
}

/** A released or expired claim, as a request has read it. */
export interface SeenClaim {
  claimId: string;
  attempt: number;
  /** True if the same request continues under the claim's ids; false if another one gets a claim of its own. */
  continued: boolean;
}

/** The right to run an operation until the lease ends. Every later write carries `attempt`, the fence. */
export interface Claim extends ScopedKey {
  claimId: string;
  /** What the gateway is sent. Claims of earlier versions have none of their own: there it is the claim id. */
  gatewayKey: string;
  /** True once the gateway has said that it has another call under this key. Then "absent" is never believed. */
  gatewayKeyTaken: boolean;
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
  /** When calls were sent that this database has forgotten, because it lost its tail. Null if it has forgotten none. */
  lostSince: Date | null;
  lostUntil: Date | null;
}

/** The state of a key, as another request sees it. */
export interface ClaimState extends Claim {
  /** `reversed`: the key was sealed before a request with it arrived, or after such a request was released. */
  status: 'in_progress' | 'completed' | 'released' | 'reversed';
  leaseExpiresAt: Date;
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
  /** True if nothing but the claim remembers the answer, so that it never expires. */
  onlyHere: boolean;
}

/** The gateway key of a claim. Claims of earlier versions have none of their own, and there the claim id was it. */
export const GATEWAY_KEY = (alias: string): string => `coalesce(${alias}.gateway_key, ${alias}.claim_id)`;

/**
 * Written so that the planner cannot use the partial index on leases. Without statistics it takes that index for the
 * smaller one, and then reads all claims in progress for each claim of a group.
 */
export const STILL_IN_PROGRESS = `k.status NOT IN ('completed', 'released', 'reversed')`;

export const CLAIM_COLUMNS = `
  k.merchant_id AS "merchantId", k.idempotency_key AS "idempotencyKey", k.claim_id AS "claimId", k.operation,
  ${GATEWAY_KEY('k')} AS "gatewayKey", k.gateway_key_taken IS TRUE AS "gatewayKeyTaken", k.fingerprint, k.resource_id AS "resourceId", k.attempt, k.resumed, k.unknown_since AS "unknownSince",
  k.lifetime_ms::float8 AS "lifetimeMs", ${LOST_TAIL_COLUMNS}`;

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
  gateway_key: ['uuid', (request) => request.gatewayKey],
  operation: ['text', (request) => request.operation],
  fingerprint: ['text', (request) => request.fingerprint],
  resource_id: ['uuid', (request) => request.resourceId],
  lifetime_ms: ['bigint', (request) => request.lifetimeMs],
});

/** What takes a claim that was read before: the columns of a new claim, and the fence. */
const RETAKEN_CLAIMS = batchOf<ClaimRequest & { seen: SeenClaim }>({
  merchant_id: ['uuid', (request) => request.merchantId],
  idempotency_key: ['text', (request) => request.idempotencyKey],
  claim_id: ['uuid', (request) => request.claimId],
  gateway_key: ['uuid', (request) => request.gatewayKey],
  operation: ['text', (request) => request.operation],
  fingerprint: ['text', (request) => request.fingerprint],
  resource_id: ['uuid', (request) => request.resourceId],
  lifetime_ms: ['bigint', (request) => request.lifetimeMs],
  seen_claim_id: ['uuid', ({ seen }) => seen.claimId],
  seen_attempt: ['int', ({ seen }) => seen.attempt],
  continued: ['boolean', ({ seen }) => seen.continued],
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
  only_here: ['boolean', ({ onlyHere }) => onlyHere],
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
   * Claims the keys that are new, and takes the claims that their requests have seen. A key that is not returned is not
   * ours: read it with {@link find} in a later statement, because one statement sees neither the row that caused its
   * conflict nor the other request's row.
   *
   * A request that finds a claim reads it first and then names what it read. A statement can arrive long after its
   * request was answered, if a proxy held its bytes. One that took whatever it found would take a claim that was
   * released meanwhile, and charge a customer for whom nobody asks any more.
   */
  async take(tx: Transaction, requests: readonly ClaimRequest[], leaseMs: number): Promise<Claim[]> {
    const fresh = requests.filter(({ seen }) => seen === undefined);
    const taking = [
      ...(fresh.length > 0 ? [this.insert(tx, fresh, leaseMs)] : []),
      ...(fresh.length < requests.length ? [this.retake(tx, requests.filter(hasSeen), leaseMs)] : []),
    ];
    return (await Promise.all(taking)).flat();
  }

  /** Claims new keys, waits for nobody, and writes nothing for a key that has a claim. */
  private async insert(
    tx: Transaction,
    requests: readonly ClaimRequest[],
    leaseMs: number,
  ): Promise<Claim[]> {
    const { next } = CLAIM_REQUESTS;
    const { rows } = await tx.query<Claim>({
      name: 'claims.insert',
      text: `
        INSERT INTO idempotency_keys AS k
          (merchant_id, idempotency_key, claim_id, gateway_key, operation, fingerprint, resource_id, lifetime_ms, status,
            attempt, lease_expires_at, write_token)
        SELECT i.*, 'in_progress', 1, clock_timestamp() + $${next} * interval '1 millisecond', $${next + 1}
        FROM ${CLAIM_REQUESTS.rows('i')}
        ON CONFLICT (merchant_id, idempotency_key) DO NOTHING
        RETURNING ${CLAIM_COLUMNS}`,
      values: [...CLAIM_REQUESTS.values(requests), leaseMs, tx.token],
    });
    return rows;
  }

  /**
   * Takes claims as their requests have seen them. A released claim goes to any request, and one whose lease has run
   * out to the same request. If a request's first commit may have succeeded, it finds its own claim again, and learns
   * from `resumed` whether another has worked on it since.
   */
  private async retake(
    tx: Transaction,
    requests: readonly (ClaimRequest & { seen: SeenClaim })[],
    leaseMs: number,
  ): Promise<Claim[]> {
    const { next } = RETAKEN_CLAIMS;
    const { rows } = await tx.query<Claim>({
      name: 'claims.retake',
      text: `
        UPDATE idempotency_keys k
        SET status = 'in_progress', attempt = k.attempt + 1, known_attempt = k.attempt + 1, expires_at = NULL,
          write_token = $${next + 1},
          lease_expires_at = clock_timestamp() + $${next} * interval '1 millisecond',
          resumed = k.status = 'in_progress' AND (k.resumed OR k.claim_id <> i.claim_id),
          operation = i.operation, fingerprint = i.fingerprint, lifetime_ms = i.lifetime_ms,
          claim_id = CASE WHEN i.continued THEN k.claim_id ELSE i.claim_id END,
          gateway_key = CASE WHEN i.continued THEN k.gateway_key ELSE i.gateway_key END,
          resource_id = CASE WHEN i.continued THEN k.resource_id ELSE i.resource_id END
        FROM ${RETAKEN_CLAIMS.rows('i')}
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.seen_claim_id AND k.attempt = i.seen_attempt
          AND (k.status = 'released' OR i.continued AND ${STILL_IN_PROGRESS}
            AND (k.lease_expires_at <= statement_timestamp() OR k.claim_id = i.claim_id))
        RETURNING ${CLAIM_COLUMNS}`,
      values: [...RETAKEN_CLAIMS.values(requests), leaseMs, tx.token],
    });
    return rows;
  }

  /** Stores final answers. Fenced: a claim that has gone to another attempt stays as it is and is not returned. */
  async complete(
    tx: Transaction,
    completions: readonly Completion[],
    retentionMs: number,
  ): Promise<Set<string>> {
    const { next } = COMPLETIONS;
    const { rows } = await tx.query<{ claimId: string }>({
      name: 'claims.complete',
      text: `
        UPDATE idempotency_keys k
        SET status = 'completed', response_status = i.status, response_content_type = i.content_type,
          response_location = i.location, response_body = i.body, fingerprint = i.fingerprint, resource_id = i.resource_id,
          write_token = $${next + 1}, expires_at = CASE
            WHEN NOT i.only_here THEN clock_timestamp() + coalesce(k.lifetime_ms, $${next}) * interval '1 millisecond'
          END
        FROM ${COMPLETIONS.rows('i')}
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}
        RETURNING k.claim_id AS "claimId"`,
      values: [...COMPLETIONS.values(completions), retentionMs, tx.token],
    });
    return new Set(rows.map((row) => row.claimId));
  }

  /**
   * Releases keys after a try that surely had no effect: the next request with such a key may run at once. Fenced. A
   * released claim stays as long as its key is not used again: without its row, a reservation that arrives late would
   * find a new key.
   */
  async release(tx: Transaction, claims: readonly Claim[]): Promise<number> {
    const { rowCount } = await tx.query({
      name: 'claims.release',
      text: `
        UPDATE idempotency_keys k
        SET status = 'released', write_token = $${FENCED_CLAIMS.next}
        FROM ${FENCED_CLAIMS.rows('i')}
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}`,
      values: [...FENCED_CLAIMS.values(claims), tx.token],
    });
    return rowCount ?? 0;
  }

  /** The keys' current states. A key that was never used is missing. */
  find(keys: readonly ScopedKey[]): Promise<ClaimState[]> {
    return this.transactions
      .read<ClaimStateRow>({
        name: 'claims.find',
        text: `
          SELECT ${CLAIM_COLUMNS}, k.status, k.created_at AS "createdAt", k.expires_at AS "expiresAt",
            k.lease_expires_at AS "leaseExpiresAt", k.lease_expires_at <= clock_timestamp() AS "leaseExpired",
            greatest(0, extract(epoch FROM k.lease_expires_at - clock_timestamp()) * 1000)::float8 AS "leaseRemainingMs",
            k.response_status AS "responseStatus", k.response_content_type AS "responseContentType",
            k.response_location AS "responseLocation", k.response_body AS "responseBody"
          FROM ${SCOPED_KEYS.rows('i')}
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)`,
        values: SCOPED_KEYS.values(keys),
      })
      .then((rows) => rows.map(toClaimState));
  }
}

function hasSeen(request: ClaimRequest): request is ClaimRequest & { seen: SeenClaim } {
  return request.seen !== undefined;
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
