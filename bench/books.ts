import type { BenchDatabase } from './machine.js';

/** A database that takes charges, and how many it must hold at the end. */
export class Books {
  charges = 0;

  constructor(
    private readonly database: BenchDatabase,
    readonly url: string,
  ) {}

  /** Every answered charge is there once, with its postings and its event. A rate of lost writes would mean nothing. */
  async check(): Promise<void> {
    const [row] = await this.database.query<{
      payments: number;
      events: number;
      postings: number;
      balance: string;
    }>(
      this.url,
      `SELECT (SELECT count(*) FROM payments WHERE status = 'completed')::int AS payments,
         (SELECT count(*) FROM events)::int AS events, count(*)::int AS postings, coalesce(sum(amount), 0)::text AS balance
       FROM ledger_entries`,
    );
    const expected = {
      payments: this.charges,
      events: this.charges,
      postings: 2 * this.charges,
      balance: '0',
    };
    if (JSON.stringify(row) !== JSON.stringify(expected)) {
      throw new Error(
        `the database holds ${JSON.stringify(row)} where ${JSON.stringify(expected)} was answered`,
      );
    }
  }
}
