import { Injectable } from '@nestjs/common';
import { PipelinedTransactions, type Transaction } from '../database/pipelined-transactions.js';

/** An answer as it goes over the wire, byte for byte, now and at every replay. */
export interface StoredAnswer {
  status: number;
  contentType: string;
  location: string | null;
  body: string;
}

/** A key within its merchant. */
export interface ScopedKey {
  merchantId: string;
  idempotencyKey: string;
}

/** Asks for the right to run an operation. `claimId` and `resourceId` are used only if the key is new. */
export interface ClaimRequest extends ScopedKey {
  claimId: string;
  operation: string;
  fingerprint: string;
  resourceId: string;
  /** How long the answer is kept; null as configured. */
  lifetimeMs: number | null;
}

/** The right to run an operation, until the lease ends. Every later write carries `attempt`: the fence. */
export interface Claim extends ScopedKey {
  claimId: string;
  operation: string;
  fingerprint: string;
  resourceId: string;
  attempt: number;
  /** How long the answer is kept; null as configured. */
  lifetimeMs: number | null;
  /** True when an earlier try may have called the gateway: then "no effect" said to this one proves nothing. */
  resumed: boolean;
  /** Since when a call that was sent has no known outcome; null for none. */
  unknownSince: Date | null;
}

/** What a key stands for, as another request sees it. */
export interface ClaimState extends Claim {
  /** `reversed` for a key that was closed before a request with it had arrived, or after it was given back. */
  status: 'in_progress' | 'completed' | 'released' | 'reversed';
  /** By the database's clock. */
  leaseExpired: boolean;
  leaseRemainingMs: number;
  answer: StoredAnswer | null;
  createdAt: Date;
  expiresAt: Date | null;
}

export interface Completion {
  claim: Claim;
  answer: StoredAnswer;
}

/**
 * True for a row version that this very transaction wrote. Statements of a pipelined transaction cannot see each
 * other's results, so this is how a later one acts on exactly the claims that an earlier one took or completed; a row
 * that was only locked, or that another attempt wrote, does not match.
 */
export const WRITTEN_BY_THIS_TRANSACTION = (alias: string): string =>
  `${alias}.xmin = pg_current_xact_id()::xid`;

/**
 * Written so that the planner cannot answer it from the partial index on leases: without statistics it takes that one
 * for the smaller, and then reads all claims in progress for each claim of a group.
 */
const STILL_IN_PROGRESS = `k.status NOT IN ('completed', 'released', 'reversed')`;

const CLAIM_COLUMNS = `
  k.merchant_id AS "merchantId", k.idempotency_key AS "idempotencyKey", k.claim_id AS "claimId", k.operation,
  k.fingerprint, k.resource_id AS "resourceId", k.attempt, k.resumed, k.unknown_since AS "unknownSince",
  k.lifetime_ms::float8 AS "lifetimeMs"`;

/** Calls that the gateway has not answered. */
export interface UnknownOutcomes {
  count: number;
  oldestSeconds: number;
}

/** The recovery worker's pauses between two questions about one call. They end only with an answer. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 300_000;

/** The SQL of `idempotency_keys`. Arrays must be sorted by key, so that two groups never lock in opposite orders. */
@Injectable()
export class ClaimsStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Claims new keys, and takes over those whose lease ran out, if they carry the same fingerprint. A released key goes
   * to whoever asks next: the same request goes on under its claim id, which is the gateway's key, and another request
   * gets a claim of its own, since the first surely had no effect. A request whose first commit may have happened
   * finds its own claim again, and whether another has worked on it since. What is not returned belongs to somebody
   * else or is completed: read it with {@link find}, in a later statement, because one statement sees neither its own
   * conflict's row nor the other's.
   */
  async take(tx: Transaction, requests: readonly ClaimRequest[], leaseMs: number): Promise<Claim[]> {
    const { rows } = await tx.query<Claim>({
      name: 'claims.take',
      text: `
        INSERT INTO idempotency_keys AS k
          (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, lifetime_ms, status, attempt,
            lease_expires_at)
        SELECT i.*, 'in_progress', 1, clock_timestamp() + $8 * interval '1 millisecond'
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::bigint[]) AS i
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
      values: [
        requests.map((request) => request.merchantId),
        requests.map((request) => request.idempotencyKey),
        requests.map((request) => request.claimId),
        requests.map((request) => request.operation),
        requests.map((request) => request.fingerprint),
        requests.map((request) => request.resourceId),
        requests.map((request) => request.lifetimeMs),
        leaseMs,
      ],
    });
    return rows;
  }

  /** Stores final answers, fenced: a claim that has gone to another attempt is left as it is and not returned. */
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
          expires_at = clock_timestamp() + coalesce(k.lifetime_ms, $11) * interval '1 millisecond'
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[], $5::text[], $6::uuid[], $7::smallint[], $8::text[],
          $9::text[], $10::text[])
          AS i(merchant_id, idempotency_key, claim_id, attempt, fingerprint, resource_id, status, content_type,
            location, body)
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}
        RETURNING k.claim_id AS "claimId"`,
      values: [
        ...fenceColumns(completions.map(({ claim }) => claim)),
        completions.map(({ claim }) => claim.fingerprint),
        completions.map(({ claim }) => claim.resourceId),
        completions.map(({ answer }) => answer.status),
        completions.map(({ answer }) => answer.contentType),
        completions.map(({ answer }) => answer.location),
        completions.map(({ answer }) => answer.body),
        retentionMs,
      ],
    });
    return new Set(rows.map((row) => row.claimId));
  }

  /** Gives a key back after a try that surely had no effect: the next request with it may run at once. Fenced. */
  async release(tx: Transaction, claims: readonly Claim[], retentionMs: number): Promise<number> {
    const { rowCount } = await tx.query({
      name: 'claims.release',
      text: `
        UPDATE idempotency_keys k
        SET status = 'released', expires_at = clock_timestamp() + $5 * interval '1 millisecond'
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[]) AS i(merchant_id, idempotency_key, claim_id, attempt)
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}`,
      values: [...fenceColumns(claims), retentionMs],
    });
    return rowCount ?? 0;
  }

  /**
   * Lets the end of a call and the provider's notifications about the same payment or refund take turns, until this
   * transaction ends. Otherwise each could miss what the other writes: the notification finds nothing that waits, the
   * call's end finds no notification, and the hint is lost. Ids have to be sorted.
   */
  async lockResources(tx: Transaction, resourceIds: readonly string[]): Promise<void> {
    await tx.query({
      name: 'claims.lock_resources',
      text: `
        SELECT pg_advisory_xact_lock(hashtextextended(i.resource_id::text, 0))
        FROM unnest($1::uuid[]) AS i(resource_id)`,
      values: [resourceIds],
    });
  }

  /**
   * Makes the claims due that wait for what this transaction's new notifications are about, and returns what that is.
   * A row that somebody locks is being taken, settled or released at this moment, and needs no hint.
   */
  async hasten(
    tx: Transaction,
    notifications: readonly { gateway: string; eventId: string }[],
  ): Promise<Set<string>> {
    const { rows } = await tx.query<{ resourceId: string }>({
      name: 'claims.hasten',
      text: `
        WITH fresh AS MATERIALIZED (
          SELECT n.resource_id
          FROM unnest($1::text[], $2::text[]) AS i(gateway, event_id)
          JOIN gateway_notifications n USING (gateway, event_id)
          WHERE ${WRITTEN_BY_THIS_TRANSACTION('n')}
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
      values: [notifications.map(({ gateway }) => gateway), notifications.map(({ eventId }) => eventId)],
    });
    return new Set(rows.map(({ resourceId }) => resourceId));
  }

  /**
   * Ends the lease of a claim whose call has no known end, so that the next retry may go on with it at once, and the
   * recovery worker after a pause that doubles from try to try. There is no pause when the provider has told of the
   * payment or refund since this attempt began: by now it may know more than it answered. What it told before that
   * does not count, or an outcome that stays unknown would be asked for without any pause. Fenced.
   * @param unknown whether the gateway may have acted; false where it only could not be reached.
   * @param leaseMs the lease that the claim was taken with.
   * @returns whether it is due at once.
   */
  async postpone(tx: Transaction, claim: Claim, unknown: boolean, leaseMs: number): Promise<boolean> {
    const { rows } = await tx.query<{ due: boolean }>({
      name: 'claims.postpone',
      text: `
        UPDATE idempotency_keys k
        SET lease_expires_at = clock_timestamp(),
          unknown_since = CASE WHEN $5 THEN coalesce(k.unknown_since, clock_timestamp()) ELSE k.unknown_since END,
          recover_after = clock_timestamp() + CASE
            WHEN EXISTS (
              SELECT FROM gateway_notifications n
              WHERE n.resource_id = k.resource_id
                AND n.received_at >= k.lease_expires_at - $8 * interval '1 millisecond')
            THEN interval '0'
            ELSE least($6 * power(2, least(k.attempt, 30) - 1), $7) * interval '1 millisecond'
          END
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[]) AS i(merchant_id, idempotency_key, claim_id, attempt)
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND k.claim_id = i.claim_id AND k.attempt = i.attempt AND ${STILL_IN_PROGRESS}
        RETURNING k.recover_after <= clock_timestamp() AS due`,
      values: [...fenceColumns([claim]), unknown, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, leaseMs],
    });
    return rows[0]?.due === true;
  }

  /** How many gateway calls have no known outcome, and the age of the oldest. A reversal only waits for such calls. */
  async unknownOutcomes(): Promise<UnknownOutcomes> {
    const [row] = await this.transactions.read<UnknownOutcomes>({
      name: 'claims.unknown_outcomes',
      text: `
        SELECT count(*)::int AS count,
          coalesce(extract(epoch FROM clock_timestamp() - min(unknown_since)), 0)::float8 AS "oldestSeconds"
        FROM idempotency_keys
        WHERE status = 'in_progress' AND unknown_since IS NOT NULL AND operation <> 'reversal'`,
      values: [],
    });
    return row ?? { count: 0, oldestSeconds: 0 };
  }

  /** What the keys stand for now; a key that nobody has used is missing. */
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
          FROM unnest($1::uuid[], $2::text[]) AS i(merchant_id, idempotency_key)
          JOIN idempotency_keys k USING (merchant_id, idempotency_key)`,
        values: [keys.map((key) => key.merchantId), keys.map((key) => key.idempotencyKey)],
      })
      .then((rows) => rows.map(toClaimState));
  }

  /** Takes over claims whose lease ran out, oldest first. Several workers share the work: each skips locked rows. */
  takeExpired(leaseMs: number, limit: number): Promise<Claim[]> {
    return this.transactions.read<Claim>({
      name: 'claims.take_expired',
      text: `
        UPDATE idempotency_keys k
        SET attempt = k.attempt + 1, resumed = true, lease_expires_at = clock_timestamp() + $1 * interval '1 millisecond'
        FROM (
          SELECT merchant_id, idempotency_key FROM idempotency_keys
          WHERE status = 'in_progress' AND lease_expires_at <= clock_timestamp()
            AND (recover_after IS NULL OR recover_after <= clock_timestamp())
          ORDER BY lease_expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) expired
        WHERE k.merchant_id = expired.merchant_id AND k.idempotency_key = expired.idempotency_key
        RETURNING ${CLAIM_COLUMNS}`,
      values: [leaseMs, limit],
    });
  }

  /** Takes over these claims where nobody's lease runs: whoever asks for one by name does not wait for its pause. */
  takeIdle(keys: readonly ScopedKey[], leaseMs: number): Promise<Claim[]> {
    return this.transactions.read<Claim>({
      name: 'claims.take_idle',
      text: `
        UPDATE idempotency_keys k
        SET attempt = k.attempt + 1, resumed = true, lease_expires_at = clock_timestamp() + $3 * interval '1 millisecond'
        FROM unnest($1::uuid[], $2::text[]) AS i(merchant_id, idempotency_key)
        WHERE k.merchant_id = i.merchant_id AND k.idempotency_key = i.idempotency_key
          AND ${STILL_IN_PROGRESS} AND k.lease_expires_at <= clock_timestamp()
        RETURNING ${CLAIM_COLUMNS}`,
      values: [keys.map((key) => key.merchantId), keys.map((key) => key.idempotencyKey), leaseMs],
    });
  }

  /** Deletes stored answers and released keys past their lifetime, and returns how many. What was made keeps its key. */
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

/** The four columns by which a fenced statement knows a claim. */
function fenceColumns(claims: readonly Claim[]): unknown[] {
  return [
    claims.map((claim) => claim.merchantId),
    claims.map((claim) => claim.idempotencyKey),
    claims.map((claim) => claim.claimId),
    claims.map((claim) => claim.attempt),
  ];
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
