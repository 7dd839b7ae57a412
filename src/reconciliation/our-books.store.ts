import { validate as isUuid } from 'uuid';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import type { PaymentName } from './effect-stage.js';
import type { CaptureMethod, PaymentStatus } from '../domain/payment.js';
import type { RefundStatus } from '../domain/refund.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';

/** What a gateway may know about a payment, with its refunds and its open operations. */
export interface BookedPayment {
  merchantId: string;
  transactionId: string;
  gatewayKey: string;
  status: PaymentStatus;
  captureMethod: CaptureMethod;
  amount: bigint;
  amountCaptured: bigint;
  currency: string;
  gatewayReference: string | null;
  /** The gateway key of the capture or cancel in progress, and how much of the authorization it is for. */
  hold: { gatewayKey: string; amount: bigint } | null;
  /** The gateway key of the capture or cancel that ended the authorization, where we know it. */
  endedByGatewayKey: string | null;
  createdAt: Date;
  updatedAt: Date;
  refunds: readonly BookedRefund[];
  /** The claims in progress, by gateway key: its own, its refunds' and its hold's. */
  claims: ReadonlyMap<string, OpenClaim>;
}

export interface BookedRefund {
  refundId: string;
  gatewayKey: string;
  status: RefundStatus;
  amount: bigint;
  currency: string;
  gatewayReference: string | null;
  createdAt: Date;
}

/** A claim in progress. */
export interface OpenClaim extends ScopedKey {
  operation: string;
  createdAt: Date;
  /** False while a process works on it. */
  leaseExpired: boolean;
}

/** Where a walk through one merchant's payments continues and where it ends. */
interface PaymentPage {
  merchantId: string;
  after: string;
  before: string;
  limit: number;
}

/** Reads our own books for the comparison with a gateway's. It never writes. */
export class OurBooksStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /** All merchants, in the order in which their payments are read. */
  async merchants(): Promise<string[]> {
    const rows = await this.transactions.read<{ merchantId: string }>({
      name: 'our_books.merchants',
      text: 'SELECT merchant_id AS "merchantId" FROM merchants ORDER BY merchant_id',
      values: [],
    });
    return rows.map(({ merchantId }) => merchantId);
  }

  /** Payments between two ids, exclusive, in order. Ids are UUIDv7, so this is also a range of time. */
  async page({ merchantId, after, before, limit }: PaymentPage): Promise<BookedPayment[]> {
    const rows = await this.transactions.read<PaymentRow>({
      name: 'our_books.page',
      text: `
        SELECT ${PAYMENT_COLUMNS}
        FROM payments p
        WHERE p.merchant_id = $1 AND p.transaction_id > $2 AND p.transaction_id < $3
        ORDER BY p.transaction_id LIMIT $4`,
      values: [merchantId, after, before, limit],
    });
    return this.complete(rows);
  }

  /**
   * Payments by the keys of their charges or by their ids, of one merchant or of any. The gateway does not know
   * merchants, but the primary key begins with one, so for an id every merchant is tried.
   */
  async find(names: readonly PaymentName[], merchantId: string | null): Promise<BookedPayment[]> {
    // The gateway may hold keys and ids that are not ours.
    const keys = names.flatMap(({ chargeKey }) => chargeKey ?? []).filter((key) => isUuid(key));
    const ids = names.flatMap(({ transactionId }) => transactionId ?? []).filter((id) => isUuid(id));
    if (keys.length + ids.length === 0) return [];
    const rows = await this.transactions.read<PaymentRow>({
      name: 'our_books.find',
      text: `
        SELECT ${PAYMENT_COLUMNS}
        FROM payments p
        WHERE p.claim_id = ANY ($1::uuid[]) AND p.merchant_id = coalesce($3, p.merchant_id)
        UNION
        SELECT ${PAYMENT_COLUMNS}
        FROM merchants m
        JOIN payments p ON p.merchant_id = m.merchant_id AND p.transaction_id = ANY ($2::uuid[])
        WHERE m.merchant_id = coalesce($3, m.merchant_id)`,
      values: [keys, ids, merchantId],
    });
    return this.complete(rows);
  }

  private async complete(rows: readonly PaymentRow[]): Promise<BookedPayment[]> {
    if (rows.length === 0) return [];
    // In this order, a refund that is settled in between is read as open without an open claim, never the other way
    // round.
    const refunds = await this.refundsOf(rows);
    const claims = await this.openClaims([
      ...rows.filter(({ status }) => status === 'pending').map(({ gatewayKey }) => gatewayKey),
      ...rows.flatMap(({ heldBy }) => heldBy ?? []),
      ...refunds.filter(({ status }) => status === 'pending').map(({ gatewayKey }) => gatewayKey),
    ]);
    const refundsByPayment = Map.groupBy(refunds, ({ transactionId }) => transactionId);
    return rows.map((row) => toPayment(row, refundsByPayment.get(row.transactionId) ?? [], claims));
  }

  private refundsOf(rows: readonly PaymentRow[]): Promise<RefundRow[]> {
    return this.transactions.read<RefundRow>({
      name: 'our_books.refunds',
      text: `
        SELECT r.transaction_id AS "transactionId", r.refund_id AS "refundId", r.claim_id AS "gatewayKey", r.status,
          r.amount, r.currency, r.gateway_reference AS "gatewayReference", r.created_at AS "createdAt"
        FROM refunds r
        WHERE r.merchant_id = ANY ($1::uuid[]) AND r.transaction_id = ANY ($2::uuid[])
        ORDER BY r.refund_id`,
      values: [
        [...new Set(rows.map(({ merchantId }) => merchantId))],
        rows.map(({ transactionId }) => transactionId),
      ],
    });
  }

  /**
   * The claims in progress under these gateway keys. Few claims are in progress at a time. Where an earlier version has
   * made the call, its gateway key is the id of the claim.
   */
  private async openClaims(gatewayKeys: readonly string[]): Promise<Map<string, OpenClaim>> {
    if (gatewayKeys.length === 0) return new Map();
    const rows = await this.transactions.read<OpenClaim & { gatewayKey: string }>({
      name: 'our_books.open_claims',
      text: `
        SELECT key.value AS "gatewayKey", k.merchant_id AS "merchantId", k.idempotency_key AS "idempotencyKey",
          k.operation, k.created_at AS "createdAt", k.lease_expires_at <= clock_timestamp() AS "leaseExpired"
        FROM idempotency_keys k
        CROSS JOIN LATERAL (VALUES (k.claim_id), (k.gateway_key)) AS key (value)
        WHERE k.status = 'in_progress' AND key.value = ANY ($1::uuid[])`,
      values: [gatewayKeys],
    });
    return new Map(rows.map(({ gatewayKey, ...claim }) => [gatewayKey, claim]));
  }
}

const PAYMENT_COLUMNS = `
  p.merchant_id AS "merchantId", p.transaction_id AS "transactionId", p.claim_id AS "gatewayKey", p.status,
  p.capture_method AS "captureMethod", p.amount, p.amount_captured AS "amountCaptured", p.currency,
  p.gateway_reference AS "gatewayReference", p.held_by AS "heldBy", p.held_amount AS "heldAmount", p.closed_by_gateway_key AS "endedByGatewayKey",
  p.created_at AS "createdAt", p.updated_at AS "updatedAt"`;

/** PostgreSQL's bigint arrives as a string. */
interface PaymentRow extends Omit<
  BookedPayment,
  'amount' | 'amountCaptured' | 'hold' | 'refunds' | 'claims'
> {
  amount: string;
  amountCaptured: string;
  heldBy: string | null;
  heldAmount: string | null;
}

interface RefundRow extends Omit<BookedRefund, 'amount'> {
  transactionId: string;
  amount: string;
}

function toPayment(
  { heldBy, heldAmount, ...row }: PaymentRow,
  refunds: readonly RefundRow[],
  claims: ReadonlyMap<string, OpenClaim>,
): BookedPayment {
  return {
    ...row,
    amount: BigInt(row.amount),
    amountCaptured: BigInt(row.amountCaptured),
    hold: heldBy === null ? null : { gatewayKey: heldBy, amount: BigInt(heldAmount ?? 0) },
    refunds: refunds.map((refund) => ({ ...refund, amount: BigInt(refund.amount) })),
    claims,
  };
}
