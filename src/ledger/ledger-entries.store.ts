import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { LedgerAccount } from '../domain/postings.js';
import { firstUuidAt } from '../ids/uuidv7.js';

/** One side of a ledger transaction. */
export interface LedgerEntry {
  ledgerTransactionId: string;
  posting: number;
  transactionId: string;
  account: LedgerAccount;
  currency: string;
  /** In the currency's minor unit: debits positive, credits negative. */
  amountMinor: bigint;
  createdAt: Date;
}

/** Where an entry is in the list. */
export interface EntryPlace {
  ledgerTransactionId: string;
  posting: number;
}

export interface EntryFilter {
  account?: LedgerAccount | undefined;
  currency?: string | undefined;
  transactionId?: string | undefined;
  createdGte?: Date | undefined;
  createdLt?: Date | undefined;
  /** Only entries before this one in time: the last of the page before. */
  before?: EntryPlace | undefined;
}

/**
 * An entry's id carries the time at which it was made, which is read from the same clock as `created_at`, a moment
 * later. A search by time looks this much further on either side of the ids, and then at `created_at`.
 */
const ID_TIME_SLACK_MS = 5 * 60_000;

/** Reads `ledger_entries`. */
@Injectable()
export class LedgerEntriesStore {
  constructor(private readonly dataSource: DataSource) {}

  /** Newest first, by the primary key. One payment's entries are found by their own index and then sorted. */
  async list(merchantId: string, filter: EntryFilter, limit: number): Promise<LedgerEntry[]> {
    const values: unknown[] = [merchantId];
    const place = (value: unknown): string => `$${values.push(value)}`;
    const conditions = ['e.merchant_id = $1'];
    const where = (column: string, operator: string, value: unknown): void => {
      if (value !== undefined) conditions.push(`e.${column} ${operator} ${place(value)}`);
    };
    let source = 'ledger_entries';
    if (filter.transactionId !== undefined) {
      // OFFSET 0 keeps the planner from walking the whole ledger in its order instead.
      const id = place(filter.transactionId);
      source = `(SELECT * FROM ledger_entries WHERE merchant_id = $1 AND transaction_id = ${id} OFFSET 0)`;
    }
    where('account', '=', filter.account);
    where('currency', '=', filter.currency);
    where('created_at', '>=', filter.createdGte);
    where('created_at', '<', filter.createdLt);
    where('ledger_transaction_id', '>=', idAt(filter.createdGte, -ID_TIME_SLACK_MS));
    where('ledger_transaction_id', '<', idAt(filter.createdLt, ID_TIME_SLACK_MS));
    if (filter.before !== undefined) {
      const { ledgerTransactionId, posting } = filter.before;
      const before = `(${place(ledgerTransactionId)}::uuid, ${place(posting)}::smallint)`;
      conditions.push(`(e.ledger_transaction_id, e.posting) < ${before}`);
    }
    const rows = await this.dataSource.query<(Omit<LedgerEntry, 'amountMinor'> & { amount: string })[]>(
      `SELECT e.ledger_transaction_id AS "ledgerTransactionId", e.posting, e.transaction_id AS "transactionId",
         e.account, e.currency, e.amount, e.created_at AS "createdAt"
       FROM ${source} e
       WHERE ${conditions.join(' AND ')}
       ORDER BY e.ledger_transaction_id DESC, e.posting DESC
       LIMIT ${place(limit)}`,
      values,
    );
    return rows.map(({ amount, ...entry }) => ({ ...entry, amountMinor: BigInt(amount) }));
  }
}

function idAt(time: Date | undefined, slackMs: number): string | undefined {
  return time && firstUuidAt(new Date(time.getTime() + slackMs));
}
