import { randomBytes, randomUUID } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { createDataSource } from '../../src/database/data-source.js';
import { PipelinedTransactions, type Transaction } from '../../src/database/pipelined-transactions.js';
import { ENTITIES } from '../../src/entities.js';
import { capturePostings } from '../../src/domain/postings.js';
import { EventSinks, type EventSink } from '../../src/events/event-sink.js';
import type { EventType, NewEvent } from '../../src/events/event.js';
import { EventsStore } from '../../src/events/events.store.js';
import {
  ClaimsStore,
  type Claim,
  type ClaimRequest,
  type StoredAnswer,
} from '../../src/idempotency/claims.store.js';
import { uuidv8 } from '../../src/ids/uuidv8.js';
import { ExpiredAnswersStore } from '../../src/idempotency/expired-answers.store.js';
import { OpenClaimsStore } from '../../src/idempotency/open-claims.store.js';
import { SealedKeysStore } from '../../src/idempotency/sealed-keys.store.js';
import { LedgerStore, type LedgerTransfer } from '../../src/ledger/ledger.store.js';
import { type NewPayment, type PaymentChange, PaymentsStore } from '../../src/payments/payments.store.js';
import { AMOUNT, newKey } from './client.js';
import { createTestDatabase } from './postgres.js';

export const MERCHANT = '00000000-0000-7000-8000-00000000000a';
export const LONG_LEASE_MS = 60_000;
/** A lease that has expired as soon as it is taken. */
export const NO_LEASE_MS = 0;
export const RETENTION_MS = 60_000;
export const ANSWER: StoredAnswer = {
  status: 201,
  contentType: 'application/json',
  location: '/made',
  body: '{}',
};

/** The real stores on a real database, without the service around them. */
export class WritePath {
  readonly transactions: PipelinedTransactions;
  readonly claims: ClaimsStore;
  readonly openClaims: OpenClaimsStore;
  readonly sealedKeys: SealedKeysStore;
  readonly expiredAnswers: ExpiredAnswersStore;
  readonly payments: PaymentsStore;
  readonly ledger = new LedgerStore();
  readonly events: EventsStore;

  private constructor(
    readonly dataSource: DataSource,
    readonly url: string,
    sinks: readonly EventSink[],
    readonly close: () => Promise<void>,
  ) {
    this.transactions = new PipelinedTransactions(dataSource);
    this.claims = new ClaimsStore(this.transactions);
    this.openClaims = new OpenClaimsStore(this.transactions);
    this.sealedKeys = new SealedKeysStore(this.transactions);
    this.expiredAnswers = new ExpiredAnswersStore(this.transactions);
    this.payments = new PaymentsStore(dataSource);
    const eventSinks = new EventSinks();
    eventSinks.register(sinks);
    this.events = new EventsStore(dataSource, eventSinks);
  }

  /** @param sinks the event sinks for which the outbox gets a row per event */
  static async open(sinks: readonly EventSink[] = []): Promise<WritePath> {
    const database = await createTestDatabase();
    const dataSource = await createDataSource(database.url, ENTITIES).initialize();
    return new WritePath(dataSource, database.url, sinks, async () => {
      await dataSource.destroy();
      await database.drop();
    });
  }

  query<Row>(sql: string, values: unknown[] = []): Promise<Row[]> {
    return this.dataSource.query<Row[]>(sql, values);
  }

  /** The claims that `requests` get, by the statements that the service sends: first for new keys, then for seen ones. */
  async take(requests: ClaimRequest[], leaseMs: number, guards = asItIs): Promise<Claim[]> {
    const taken = await this.takeNow(requests, leaseMs, guards);
    const left = requests.filter(({ claimId }) => taken.every((claim) => claim.claimId !== claimId));
    const seeing = await Promise.all(left.map((request) => this.see(request)));
    const seen = seeing.filter((request) => request !== null);
    return seen.length === 0 ? taken : [...taken, ...(await this.takeNow(seen, leaseMs, guards))];
  }

  /** One transaction that takes claims, as the service sends it. */
  async takeNow(requests: ClaimRequest[], leaseMs: number, guards = asItIs): Promise<Claim[]> {
    const [taken] = await this.transactions.run((tx) => [this.claims.take(guards(tx), requests, leaseMs)]);
    return taken;
  }

  /** The request after it has read the claim of its key; null if there is none. */
  async see(request: ClaimRequest): Promise<ClaimRequest | null> {
    const [state] = await this.claims.find([request]);
    if (state === undefined) return null;
    const { claimId, attempt } = state;
    const continued = state.fingerprint === request.fingerprint;
    return { ...request, seen: { claimId, attempt, continued } };
  }

  /** A claim with its pending payment, as a charge reserves it. */
  async reserve(leaseMs: number, request = claimRequest()): Promise<Claim> {
    const [[claim]] = await this.transactions.run((tx) => [
      this.claims.take(tx, [request], leaseMs),
      this.payments.insertPending(tx, [newPayment(request)]),
    ]);
    return claim!;
  }

  /** The four statements of a settlement; `guards` stands between them and the database. */
  async settle(claim: Claim, guards = asItIs): Promise<boolean> {
    const [completed] = await this.transactions.run((plain) => {
      const tx = guards(plain);
      return [
        this.claims.complete(tx, [{ claim, answer: ANSWER, onlyHere: false }], RETENTION_MS),
        this.payments.write(tx, [{ claim, change: completedPayment(claim) }]),
        this.ledger.write(tx, [{ claim, change: capture(claim) }]),
        this.events.append(tx, [event(claim)]),
      ];
    });
    return completed.has(claim.claimId);
  }

  /** The three statements that leave a payment open, as an operation with a pending event sends them. */
  async postpone(claim: Claim, guards = asItIs): Promise<void> {
    await this.transactions.run((plain) => {
      const tx = guards(plain);
      return [
        this.openClaims.postpone(tx, claim, 'unknown', LONG_LEASE_MS),
        this.payments.countPending(tx, claim, claim.resourceId),
        this.events.append(tx, [event(claim, 'payment.pending')]),
      ];
    });
  }

  /** A payment's events in order, with their numbers. */
  async eventsOf({ resourceId }: Claim): Promise<string[]> {
    const rows = await this.query<{ event: string }>(
      `SELECT sequence || ' ' || type AS event FROM events WHERE transaction_id = $1 ORDER BY sequence`,
      [resourceId],
    );
    return rows.map((row) => row.event);
  }

  async rowsOf({ idempotencyKey, resourceId }: Pick<Claim, 'idempotencyKey' | 'resourceId'>) {
    const count = async (table: string): Promise<number> => {
      const rows = await this.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM ${table} WHERE transaction_id = $1`,
        [resourceId],
      );
      return rows[0]!.n;
    };
    const [claim] = await this.query<{ status: string; attempt: number }>(
      'SELECT status, attempt FROM idempotency_keys WHERE idempotency_key = $1',
      [idempotencyKey],
    );
    const [payment] = await this.query<{ status: string }>(
      'SELECT status FROM payments WHERE transaction_id = $1',
      [resourceId],
    );
    return {
      claim: claim && `${claim.status} ${claim.attempt}`,
      payment: payment?.status,
      postings: await count('ledger_entries'),
      events: await count('events'),
    };
  }
}

export type Guards = (tx: Transaction) => Transaction;

/** The statements as the stores send them. */
export const asItIs: Guards = (tx) => tx;

/**
 * A negative control: sends the statement `name` without one of its guards, and everything else unchanged. It fails if
 * the guard is no longer in the text, so that a control cannot pass only because its guard was renamed.
 */
export function without(name: string, guard: string | RegExp, replacement = ''): Guards {
  return (tx) => ({
    token: tx.token,
    query: (statement) => {
      if (statement.name !== name) return tx.query(statement);
      const text = statement.text.replace(guard, replacement);
      if (text === statement.text) throw new Error(`${name} has no guard "${guard}":\n${statement.text}`);
      return tx.query({ ...statement, name: `${name} without ${guard}`.slice(0, 60), text });
    },
  });
}

/** A negative control: sends the statement without its check that an earlier one of this transaction wrote the row. */
export function withoutItsMark(name: string): Guards {
  // The parameter stays in the statement, because PostgreSQL must know its type.
  return without(name, /\b\w\.write_token = (\$\d+)::bigint/, '$1::bigint IS NOT NULL');
}

export function claimRequest(changes: Partial<ClaimRequest> = {}): ClaimRequest {
  return {
    merchantId: MERCHANT,
    idempotencyKey: newKey(),
    claimId: uuidv7(),
    gatewayKey: uuidv8(randomBytes(32)),
    operation: 'charge',
    fingerprint: 'v1:one',
    resourceId: uuidv7(),
    lifetimeMs: null,
    ...changes,
  };
}

export function newPayment(request: ClaimRequest): NewPayment {
  return {
    merchantId: request.merchantId,
    idempotencyKey: request.idempotencyKey,
    receivedAt: new Date(),
    command: {
      amountMinor: BigInt(AMOUNT),
      currency: 'EUR',
      paymentMethod: 'pm_card_visa',
      captureMethod: 'automatic',
      userId: null,
      description: null,
      metadata: {},
    },
  };
}

function completedPayment(claim: Claim): PaymentChange {
  return {
    merchantId: claim.merchantId,
    transactionId: claim.resourceId,
    from: 'pending',
    to: 'completed',
    amountCaptured: BigInt(AMOUNT),
    failure: null,
    gatewayReference: `ref_${randomUUID()}`,
    events: 1,
    updatedAt: new Date(),
  };
}

function capture(claim: Claim): LedgerTransfer {
  return {
    transferId: uuidv7(),
    transactionId: claim.resourceId,
    currency: 'EUR',
    postings: capturePostings(BigInt(AMOUNT)),
    createdAt: new Date(),
  };
}

export function event(claim: Claim, type: EventType = 'payment.completed'): NewEvent {
  return {
    merchantId: claim.merchantId,
    eventId: uuidv7(),
    type,
    transactionId: claim.resourceId,
    resource: '{}',
    createdAt: new Date(),
  };
}
