import { Injectable } from '@nestjs/common';
import { type Transaction } from '../database/pipelined-transactions.js';
import type { Posting } from '../domain/postings.js';
import { WRITTEN_BY_THIS_TRANSACTION, type Claim } from '../idempotency/claims.store.js';

/** The postings of one settled operation. `ledgerTransactionId` is a UUIDv7; the postings sum to zero. */
export interface LedgerTransaction {
  ledgerTransactionId: string;
  transactionId: string;
  currency: string;
  postings: readonly Posting[];
  createdAt: Date;
}

/** The SQL of `ledger_entries`, which the database keeps append-only and balanced. */
@Injectable()
export class LedgerStore {
  /** Appends for the claims that this transaction completed, and for no others. */
  async append(
    tx: Transaction,
    entries: readonly { claim: Claim; ledger: LedgerTransaction }[],
  ): Promise<void> {
    if (entries.length === 0) return;
    const rows = entries.flatMap(({ claim, ledger }) =>
      ledger.postings.map((posting, index) => ({ claim, ledger, posting, number: index + 1 })),
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
        rows.map(({ ledger }) => ledger.ledgerTransactionId),
        rows.map(({ number }) => number),
        rows.map(({ ledger }) => ledger.transactionId),
        rows.map(({ posting }) => posting.account),
        rows.map(({ ledger }) => ledger.currency),
        rows.map(({ posting }) => posting.amount),
        rows.map(({ ledger }) => ledger.createdAt),
      ],
    });
  }
}
