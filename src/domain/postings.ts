/** The accounts that a merchant has in each currency. */
export const LEDGER_ACCOUNTS = ['gateway_receivable', 'merchant_payable'] as const;
export type LedgerAccount = (typeof LEDGER_ACCOUNTS)[number];

/** One side of a ledger transfer: debits are positive, credits negative, in the currency's minor unit. */
export interface Posting {
  account: LedgerAccount;
  amount: bigint;
}

/** Money came in: the gateway owes it to us, and we owe it to the merchant. */
export function capturePostings(amountMinor: bigint): Posting[] {
  return transfer('gateway_receivable', 'merchant_payable', amountMinor);
}

/** Money went back: the merchant owes it to us, and we to the gateway. */
export function refundPostings(amountMinor: bigint): Posting[] {
  return transfer('merchant_payable', 'gateway_receivable', amountMinor);
}

/** A transfer sums to zero whatever the amount, so a caller cannot build an unbalanced one. */
function transfer(debit: LedgerAccount, credit: LedgerAccount, amountMinor: bigint): Posting[] {
  if (amountMinor <= 0n) throw new RangeError(`a transfer of ${amountMinor} moves nothing`);
  return [
    { account: debit, amount: amountMinor },
    { account: credit, amount: -amountMinor },
  ];
}
