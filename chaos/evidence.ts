import { Client } from 'pg';
import { reconcile } from '../src/cli/reconcile.js';
import { SandboxHttpBooks } from '../src/gateways/sandbox/sandbox-http.books.js';
import { verify, type CheckResult } from '../src/verification/verification.js';
import type { Heard, Journal } from './journal.js';

/** Amounts are numbers: the amounts of one run and their sums are far below 2^53. */
export interface PaymentRow {
  transaction_id: string;
  idempotency_key: string;
  claim_id: string;
  status: string;
  capture_method: string;
  payment_method: string;
  amount: number;
  amount_captured: number;
  amount_refunded: number;
  currency: string;
  gateway_reference: string | null;
  held_by: string | null;
  closed_by_key: string | null;
  closed_by_gateway_key: string | null;
  event_sequence: number;
}

export interface RefundRow {
  refund_id: string;
  transaction_id: string;
  idempotency_key: string;
  claim_id: string;
  status: string;
  amount: number;
  currency: string;
  gateway_reference: string | null;
}

interface ReversalRow {
  reversal_id: string;
  steps_key: string | null;
  idempotency_key: string;
  reversed_key: string;
  status: string;
  outcome: string | null;
  transaction_id: string | null;
}

interface KeyRow {
  idempotency_key: string;
  claim_id: string;
  operation: string;
  status: string;
  attempt: number;
  resumed: boolean;
  /** Whether the outcome of its call was ever unknown. */
  was_unknown: boolean;
  response_status: number | null;
  response_body: string | null;
}

interface EventRow {
  event_id: string;
  type: string;
  transaction_id: string;
  sequence: number;
  refund_id: string | null;
}

export interface LedgerRow {
  ledger_transaction_id: string;
  transaction_id: string;
  account: string;
  currency: string;
  amount: number;
}

/** An effect in the gateway's own books. */
export interface EffectRow {
  kind: string;
  reference: string;
  charge_reference: string;
  /** The key of its charge, which says which payment it belongs to. */
  charge_key: string | null;
  idempotency_key: string | null;
  amount: number;
  currency: string;
}

/** A difference that `npm run cli -- reconcile` reports. */
export interface Reconciled {
  list: string;
  row: object;
}

/** Everything that is known at the end. The verdict rests on this alone. */
export interface Evidence {
  payments: PaymentRow[];
  refunds: RefundRow[];
  reversals: ReversalRow[];
  keys: KeyRow[];
  events: EventRow[];
  ledger: LedgerRow[];
  effects: EffectRow[];
  journal: Journal;
  /** What each service answers to `GET /v1/balances`. */
  balances: Heard[];
  /** The statuses that `/openapi.json` documents, by method and path template. */
  documented: Readonly<Record<string, readonly number[]>>;
  verified: CheckResult[];
  reconciled: Reconciled[];
  /** Processes that ended by themselves. */
  failures: string[];
}

type OwnBooks = Pick<Evidence, 'payments' | 'refunds' | 'reversals' | 'keys' | 'events' | 'ledger'>;

const TABLES: Readonly<Record<keyof OwnBooks, string>> = {
  payments: `
    SELECT transaction_id, idempotency_key, claim_id, status, capture_method, payment_method, amount::float8,
      amount_captured::float8, amount_refunded::float8, currency, gateway_reference, held_by, closed_by_key,
      closed_by_gateway_key, event_sequence
    FROM payments`,
  refunds: `
    SELECT refund_id, transaction_id, idempotency_key, claim_id, status, amount::float8, currency, gateway_reference
    FROM refunds`,
  reversals: `
    SELECT reversal_id, steps_key, idempotency_key, reversed_key, status, outcome, transaction_id FROM reversals`,
  keys: `
    SELECT idempotency_key, claim_id, operation, status, attempt, resumed, unknown_since IS NOT NULL AS was_unknown,
      response_status, response_body
    FROM idempotency_keys`,
  events: `
    SELECT event_id, type, transaction_id, sequence, resource->>'refund_id' AS refund_id FROM events`,
  ledger: `
    SELECT ledger_transaction_id, transaction_id, account, currency, amount::float8 FROM ledger_entries`,
};

export async function readOwnBooks(databaseUrl: string): Promise<OwnBooks & { verified: CheckResult[] }> {
  return withClient(databaseUrl, async (client) => {
    const books: Partial<Record<keyof OwnBooks, object[]>> = {};
    for (const [table, sql] of Object.entries(TABLES) as [keyof OwnBooks, string][]) {
      books[table] = (await client.query<object>(sql)).rows;
    }
    return { ...(books as unknown as OwnBooks), verified: await verify(client) };
  });
}

/** Counts the claims, payments, refunds and reversals that have not ended. */
export async function countOpen(databaseUrl: string): Promise<number> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ open: number }>(`
      SELECT count(*)::int AS open
      FROM (
        SELECT idempotency_key FROM idempotency_keys WHERE status = 'in_progress'
        UNION ALL SELECT idempotency_key FROM payments WHERE status = 'pending' OR held_by IS NOT NULL
        UNION ALL SELECT idempotency_key FROM refunds WHERE status = 'pending'
        UNION ALL SELECT idempotency_key FROM reversals WHERE status = 'pending'
      ) o`);
    return rows[0]?.open ?? 0;
  });
}

/** The keys whose operation is still running. */
export async function keysInProgress(databaseUrl: string): Promise<Set<string>> {
  return withClient(databaseUrl, async (client) => {
    const { rows } = await client.query<{ idempotency_key: string }>(`
      SELECT idempotency_key FROM idempotency_keys
      WHERE status = 'in_progress'`);
    return new Set(rows.map((row) => row.idempotency_key));
  });
}

export async function readGatewayBooks(gatewayUrl: string): Promise<EffectRow[]> {
  const effects: EffectRow[] = [];
  for await (const page of new SandboxHttpBooks(gatewayUrl).effects({ from: null, to: null })) {
    for (const effect of page) {
      effects.push({
        kind: effect.kind,
        reference: effect.reference,
        charge_reference: effect.chargeReference,
        charge_key: effect.chargeKey,
        idempotency_key: effect.gatewayKey,
        amount: Number(effect.amountMinor),
        currency: effect.currency,
      });
    }
  }
  return effects;
}

/** Compares as the command does. Nothing should be open by now, so anything open counts as a difference at once. */
export async function readReconciliation(env: Record<string, string>): Promise<Reconciled[]> {
  const { report } = await reconcile(env, {
    merchantId: null,
    from: null,
    to: null,
    repair: false,
    openAfterMs: 0,
    shown: 100,
  });
  const { missingHere, missingThere, amountDiffers, open } = report;
  return Object.entries({ missingHere, missingThere, amountDiffers, open }).flatMap(([list, { data }]) =>
    data.map((row) => ({ list, row })),
  );
}

interface OpenApi {
  paths: Record<string, Record<string, { responses: Record<string, unknown> }>>;
}

export function documentedStatuses(openApi: OpenApi): Record<string, number[]> {
  return Object.fromEntries(
    Object.entries(openApi.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { responses }]) => [
        `${method.toUpperCase()} ${path}`,
        Object.keys(responses).map(Number),
      ]),
    ),
  );
}

async function withClient<T>(databaseUrl: string, use: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: databaseUrl });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
