import { currencies as listed } from 'countries-list/currencies';

export interface Currency {
  /** ISO 4217, upper case. */
  readonly code: string;
  /** Decimal digits of the minor unit: 2 for EUR, 0 for JPY, 3 for KWD. */
  readonly exponent: number;
  /** In English. */
  readonly name: string;
}

/**
 * ISO 4217 codes that cannot be used to pay: funds and units of account, precious metals, bond market units, the code
 * for tests and the one for no currency. The library's data does not mark them.
 */
const NOT_MONEY: ReadonlySet<string> = new Set(
  `BOV CHE CHW CLF COU MXV USN UYI UYW XAD XDR XSU XUA
  XAG XAU XPD XPT
  XBA XBB XBC XBD
  XTS XXX`.split(/\s+/),
);

/**
 * The currencies that can be used to pay, by code. They come from `countries-list`, which is generated from ISO's own
 * list and marks withdrawn currencies. We do not use `Intl`: it lists currencies withdrawn decades ago, and its digits
 * come from CLDR and differ from ISO's.
 */
const CURRENCIES: ReadonlyMap<string, Currency> = new Map(
  Object.entries(listed)
    .filter(([code, { withdrawn }]) => withdrawn !== true && !NOT_MONEY.has(code))
    .map(([code, { decimals, name }]): [string, Currency] => [code, { code, exponent: decimals, name }])
    .toSorted(([a], [b]) => (a < b ? -1 : 1)),
);

/** Finds a currency by its code, which must be in upper case as in the standard. */
export function findCurrency(code: string): Currency | undefined {
  return CURRENCIES.get(code);
}

/** All currencies, ordered by code. */
export function listCurrencies(): Currency[] {
  return [...CURRENCIES.values()];
}
