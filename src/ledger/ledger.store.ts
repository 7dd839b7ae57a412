import { Injectable } from '@nestjs/common';
import { batchOf } from '../database/batch.js';
import { writtenBy, type Transaction } from '../database/pipelined-transactions.js';
import type { Posting } from '../domain/postings.js';
import { SinkAddress, type ClaimedChange, type SettlementSink } from '../idempotency/settlement.js';

/**
 * Money that moved between accounts. `transferId` is a UUIDv7, stored as `ledger_transaction_id`. The postings sum to
 * zero.
 */
export interface LedgerTransfer {
  transferId: string;
  transactionId: string;
  currency: string;
  postings: readonly Posting[];
  createdAt: Date;
}

/** Where a settlement sends its transfer. */
export const LEDGER = new SinkAddress<LedgerTransfer>('ledger');

interface NewEntry extends ClaimedChange<LedgerTransfer> {
  posting: Posting;
  /** The posting's number within its transfer, from 1. */
  number: number;
}

const NEW_ENTRIES = batchOf<NewEntry>({
  merchant_id: ['uuid', ({ claim }) => claim.merchantId],
  idempotency_key: ['text', ({ claim }) => claim.idempotencyKey],
  ledger_transaction_id: ['uuid', ({ change }) => change.transferId],
  posting: ['smallint', ({ number }) => number],
  transaction_id: ['uuid', ({ change }) => change.transactionId],
  account: ['text', ({ posting }) => posting.account],
  currency: ['text', ({ change }) => change.currency],
  amount: ['bigint', ({ posting }) => posting.amount],
  created_at: ['timestamptz', ({ change }) => change.createdAt],
});

/**
 * Where entries of this transaction belong: see `closing.store.ts`. The database checks it, and would set it row by row
 * if we did not.
 */
const PLACE_OF_THIS_TRANSACTION = 'c.xid_base + pg_current_xact_id()::text::bigint';

/** The SQL of `ledger_entries`, which the database keeps append-only and balanced. */
@Injectable()
export class LedgerStore implements SettlementSink<LedgerTransfer> {
  readonly address = LEDGER;

  /** Appends for the claims that this transaction completed, and for no others. */
  async write(tx: Transaction, changes: readonly ClaimedChange<LedgerTransfer>[]): Promise<void> {
    const rows = changes.flatMap(({ claim, change }) =>
      change.postings.map((posting, index) => ({ claim, change, posting, number: index + 1 })),
    );
    await tx.query({
      name: 'ledger.append',
      text: `
        INSERT INTO ledger_entries
          (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at,
            log_position)
        SELECT i.merchant_id, i.ledger_transaction_id, i.posting, i.transaction_id, i.account, i.currency, i.amount,
          i.created_at, (SELECT ${PLACE_OF_THIS_TRANSACTION} FROM ledger_closing c WHERE c.only_row)
        FROM ${NEW_ENTRIES.rows('i')}
        JOIN idempotency_keys k USING (merchant_id, idempotency_key)
        WHERE ${writtenBy('k', NEW_ENTRIES.next)}`,
      values: [...NEW_ENTRIES.values(rows), tx.token],
    });
  }
}
