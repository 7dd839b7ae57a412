import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import type { CaptureMethod, PaymentStatus } from '../domain/payment.js';
import type { RefundStatus } from '../domain/refund.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';

/** What a gateway may know about a payment, with its refunds and its open operations. */
export interface BookedPayment {
  merchantId: string;
  transactionId: string;
  claimId: string;
  status: PaymentStatus;
  captureMethod: CaptureMethod;
  amount: bigint;
  amountCaptured: bigint;
  currency: string;
  gatewayReference: string | null;
  /** The claim of the capture or cancel in progress, and how much of the authorization it is for. */
  hold: { claimId: string; amount: bigint } | null;
  createdAt: Date;
  updatedAt: Date;
  refunds: readonly BookedRefund[];
  /** The claims in progress, by id: its own, its refunds' and its hold's. */
  claims: ReadonlyMap<string, OpenClaim>;
}

export interface BookedRefund {
  refundId: string;
  claimId: string;
  status: RefundStatus;
  amount: bigint;
  currency: string;
  gatewayReference: string | null;
  createdAt: Date;
}

/** A claim in progress. */
export interface OpenClaim extends ScopedKey {
  claimId: string;
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
   * Payments by id, of one merchant or of any. The gateway does not know merchants, but all our keys begin with one, so
   * every merchant is tried.
   */
  async find(transactionIds: readonly string[], merchantId: string | null): Promise<BookedPayment[]> {
    const rows = await this.transactions.read<PaymentRow>({
      name: 'our_books.find',
      text: `
        SELECT ${PAYMENT_COLUMNS}
        FROM merchants m
        JOIN payments p ON p.merchant_id = m.merchant_id AND p.transaction_id = ANY ($1::uuid[])
        WHERE m.merchant_id = coalesce($2, m.merchant_id)`,
      values: [transactionIds, merchantId],
    });
    return this.complete(rows);
  }

  private async complete(rows: readonly PaymentRow[]): Promise<BookedPayment[]> {
    if (rows.length === 0) return [];
    // In this order, a refund that is settled in between is read as open without an open claim, never the other way
    // round.
    const refunds = await this.refundsOf(rows);
    const claims = await this.openClaims([
      ...rows.filter(({ status }) => status === 'pending').map(({ claimId }) => claimId),
      ...rows.flatMap(({ heldBy }) => heldBy ?? []),
      ...refunds.filter(({ status }) => status === 'pending').map(({ claimId }) => claimId),
    ]);
    const claimsById = new Map(claims.map((claim) => [claim.claimId, claim]));
    const refundsByPayment = Map.groupBy(refunds, ({ transactionId }) => transactionId);
    return rows.map((row) => toPayment(row, refundsByPayment.get(row.transactionId) ?? [], claimsById));
  }

  private refundsOf(rows: readonly PaymentRow[]): Promise<RefundRow[]> {
    return this.transactions.read<RefundRow>({
      name: 'our_books.refunds',
      text: `
        SELECT r.transaction_id AS "transactionId", r.refund_id AS "refundId", r.claim_id AS "claimId", r.status,
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

  /** The claims in progress with these ids. Few claims are in progress at a time. */
  private async openClaims(claimIds: readonly string[]): Promise<OpenClaim[]> {
    if (claimIds.length === 0) return [];
    return this.transactions.read<OpenClaim>({
      name: 'our_books.open_claims',
      text: `
        SELECT k.merchant_id AS "merchantId", k.idempotency_key AS "idempotencyKey", k.claim_id AS "claimId",
          k.operation, k.created_at AS "createdAt", k.lease_expires_at <= clock_timestamp() AS "leaseExpired"
        FROM idempotency_keys k
        WHERE k.status = 'in_progress' AND k.claim_id = ANY ($1::uuid[])`,
      values: [claimIds],
    });
  }
}

const PAYMENT_COLUMNS = `
  p.merchant_id AS "merchantId", p.transaction_id AS "transactionId", p.claim_id AS "claimId", p.status,
  p.capture_method AS "captureMethod", p.amount, p.amount_captured AS "amountCaptured", p.currency,
  p.gateway_reference AS "gatewayReference", p.held_by AS "heldBy", p.held_amount AS "heldAmount",
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
    hold: heldBy === null ? null : { claimId: heldBy, amount: BigInt(heldAmount ?? 0) },
    refunds: refunds.map((refund) => ({ ...refund, amount: BigInt(refund.amount) })),
    claims,
  };
}
