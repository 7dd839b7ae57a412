import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { LedgerAccount } from '../domain/postings.js';
import { firstUuidAt } from '../ids/uuidv7.js';

/** One side of a ledger transfer. */
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

/** An entry's position in the list. */
export interface EntryPlace {
  ledgerTransactionId: string;
  posting: number;
}

interface EntryFilter {
  account?: LedgerAccount | undefined;
  currency?: string | undefined;
  transactionId?: string | undefined;
  createdGte?: Date | undefined;
  createdLt?: Date | undefined;
  /** Only entries earlier than this one, which is the last on the previous page. */
  before?: EntryPlace | undefined;
}

/**
 * An entry's id carries the time when it was made. `created_at` comes from the same clock, a moment later. A search by
 * time reads ids this much further on both sides, and then compares `created_at`.
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
      // Without OFFSET 0 the planner would walk the whole ledger in this order.
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
