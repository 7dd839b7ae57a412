import { Injectable } from '@nestjs/common';
import { type Transaction } from '../database/pipelined-transactions.js';
import type { Posting } from '../domain/postings.js';
import { WRITTEN_BY_THIS_TRANSACTION } from '../idempotency/claims.store.js';
import { SinkAddress, type Settled, type SettlementSink } from '../idempotency/settlement.js';

/** Money that moved between accounts. `transferId` is a UUIDv7, stored as `ledger_transaction_id`; the postings sum to zero. */
export interface LedgerTransfer {
  transferId: string;
  transactionId: string;
  currency: string;
  postings: readonly Posting[];
  createdAt: Date;
}

/** Where a settlement sends its transfer. */
export const LEDGER = new SinkAddress<LedgerTransfer>('ledger');

/** The SQL of `ledger_entries`, which the database keeps append-only and balanced. */
@Injectable()
export class LedgerStore implements SettlementSink<LedgerTransfer> {
  readonly address = LEDGER;

  /** Appends for the claims that this transaction completed, and for no others. */
  async write(tx: Transaction, changes: readonly Settled<LedgerTransfer>[]): Promise<void> {
    const rows = changes.flatMap(({ claim, change }) =>
      change.postings.map((posting, index) => ({ claim, change, posting, number: index + 1 })),
    );
    await tx.query({
      name: 'ledger.append',
      text: `
        INSERT INTO ledger_entries
          (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at)
        SELECT i.merchant_id, i.ledger_transaction_id, i.posting, i.transaction_id, i.account, i.currency, i.amount,
          i.created_at
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::smallint[], $5::uuid[], $6::text[], $7::text[],
          $8::bigint[], $9::timestamptz[])
          AS i(merchant_id, idempotency_key, ledger_transaction_id, posting, transaction_id, account, currency, amount,
            created_at)
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE ${WRITTEN_BY_THIS_TRANSACTION('k')}`,
      values: [
        rows.map(({ claim }) => claim.merchantId),
        rows.map(({ claim }) => claim.idempotencyKey),
        rows.map(({ change }) => change.transferId),
        rows.map(({ number }) => number),
        rows.map(({ change }) => change.transactionId),
        rows.map(({ posting }) => posting.account),
        rows.map(({ change }) => change.currency),
        rows.map(({ posting }) => posting.amount),
        rows.map(({ change }) => change.createdAt),
      ],
    });
  }
}
