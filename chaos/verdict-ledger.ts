import { sum, type Check } from './check.js';
import type { Evidence, LedgerRow } from './evidence.js';

/** Whether the ledger balances and agrees with the payments and refunds. */
export const LEDGER_CHECKS: readonly Check[] = [
  {
    name: 'ledger.balanced',
    holds: 'each ledger transfer sums to zero',
    find: ({ ledger }) =>
      [...Map.groupBy(ledger, (row) => `${row.ledger_transaction_id} ${row.currency}`).values()].filter(
        (entries) => sum(entries) !== 0,
      ),
  },
  {
    name: 'ledger.amounts',
    holds: 'the ledger books for each payment what was captured minus what was refunded',
    find: ledgerDifferences,
  },
  {
    name: 'ledger.balances',
    holds: 'both services return the balances that follow from the payments',
    find: wrongBalances,
  },
];

function ledgerDifferences({ payments, refunds, ledger }: Evidence): object[] {
  const booked = Map.groupBy(ledger, (row) => `${row.transaction_id} ${row.currency}`);
  const given = Map.groupBy(
    refunds.filter(({ status }) => status === 'completed'),
    (row) => row.transaction_id,
  );
  const differing = payments.flatMap((row) => {
    const name = `${row.transaction_id} ${row.currency}`;
    const entries = booked.get(name) ?? [];
    booked.delete(name);
    const expected = row.amount_captured - sum(given.get(row.transaction_id) ?? []);
    const receivable = sum(ofAccount(entries, 'gateway_receivable'));
    const payable = sum(ofAccount(entries, 'merchant_payable'));
    // One entry per capture and per refund, on each side.
    const count = (row.amount_captured > 0 ? 1 : 0) + (given.get(row.transaction_id)?.length ?? 0);
    const right = receivable === expected && payable === -expected && entries.length === 2 * count;
    return right
      ? []
      : [{ transaction_id: row.transaction_id, expected, receivable, payable, entries: entries.length }];
  });
  return [...differing, ...[...booked.values()].flat().map((row) => ({ without_payment: true, ...row }))];
}

function ofAccount(entries: readonly LedgerRow[], account: string): LedgerRow[] {
  return entries.filter((row) => row.account === account);
}

function wrongBalances({ payments, refunds, balances }: Evidence): object[] {
  const expected = new Map<string, number>();
  const add = (currency: string, amount: number): void =>
    void expected.set(currency, (expected.get(currency) ?? 0) + amount);
  for (const row of payments) add(row.currency, row.amount_captured);
  for (const row of refunds) if (row.status === 'completed') add(row.currency, -row.amount);
  return balances.flatMap((heard, service): object[] => {
    if (heard.status !== 200) return [{ service, status: heard.status }];
    const answered = heard.json['data'] as { account: string; currency: string; balance: number }[];
    return [...expected].flatMap(([currency, amount]) => {
      const of = (account: string): number =>
        answered.find((row) => row.account === account && row.currency === currency)?.balance ?? 0;
      const [receivable, payable] = [of('gateway_receivable'), of('merchant_payable')];
      return receivable === amount && payable === -amount
        ? []
        : [{ service, currency, expected: amount, receivable, payable }];
    });
  });
}
