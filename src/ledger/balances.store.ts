import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { LedgerAccount } from '../domain/postings.js';

/** In the currency's minor unit, signed as entries are: debits positive, credits negative. */
export interface Balance {
  account: LedgerAccount;
  currency: string;
  balanceMinor: bigint;
}

interface BalanceRow {
  account: LedgerAccount;
  currency: string;
  balance: string;
}

/** Reads each account's balance. */
@Injectable()
export class BalancesStore {
  constructor(private readonly dataSource: DataSource) {}

  /**
   * A merchant's balances, exact at one moment: the newest snapshot plus the entries after it. One statement reads
   * both, so that neither a commit nor a snapshot can come between. It is planned anew each time: a plan made while
   * the ledger was small would read all of it for as long as that plan is kept.
   */
  async read(merchantId: string): Promise<Balance[]> {
    const rows = await this.dataSource.query<BalanceRow[]>(
      `WITH last AS MATERIALIZED (
         SELECT coalesce(max(s.horizon), 0) AS horizon FROM ledger_snapshots s WHERE s.merchant_id = $1
       )
       SELECT p.account, p.currency, sum(p.balance)::text AS balance
       FROM (
         SELECT s.account, s.currency, s.balance
         FROM ledger_snapshots s
         WHERE s.merchant_id = $1 AND s.horizon = (SELECT horizon FROM last)
         UNION ALL
         SELECT e.account, e.currency, sum(e.amount)
         FROM ledger_entries e
         WHERE e.merchant_id = $1 AND e.log_position >= (SELECT horizon FROM last)
         GROUP BY e.account, e.currency
       ) p
       GROUP BY p.account, p.currency
       ORDER BY p.currency, p.account`,
      [merchantId],
    );
    return rows.map(({ account, currency, balance }) => ({
      account,
      currency,
      balanceMinor: BigInt(balance),
    }));
  }
}
