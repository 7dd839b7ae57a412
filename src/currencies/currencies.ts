import { currencies as listed } from 'countries-list/currencies';

export interface Currency {
  /** ISO 4217, upper case. */
  readonly code: string;
  /** How many decimal digits the minor unit has: 2 for EUR, 0 for JPY, 3 for KWD. */
  readonly exponent: number;
  /** In English. */
  readonly name: string;
}

/**
 * What ISO 4217 lists and nobody can pay in: funds and units of account, precious metals, bond market units, the code
 * for tests and the one for no currency. The data does not tell them from currencies.
 */
const NOT_MONEY: ReadonlySet<string> = new Set(
  `BOV CHE CHW CLF COU MXV USN UYI UYW XAD XDR XSU XUA
  XAG XAU XPD XPT
  XBA XBB XBC XBD
  XTS XXX`.split(/\s+/),
);

/**
 * The currencies that somebody can pay in, by code. They come from `countries-list`, which is generated from ISO's own
 * list and marks what was withdrawn. `Intl` was no alternative: it lists what was withdrawn decades ago, and its digits
 * are CLDR's, which differ from ISO's.
 */
const CURRENCIES: ReadonlyMap<string, Currency> = new Map(
  Object.entries(listed)
    .filter(([code, { withdrawn }]) => withdrawn !== true && !NOT_MONEY.has(code))
    .map(([code, { decimals, name }]): [string, Currency] => [code, { code, exponent: decimals, name }])
    .toSorted(([a], [b]) => (a < b ? -1 : 1)),
);

/** The currency of a code in the upper case that the standard writes. */
export function findCurrency(code: string): Currency | undefined {
  return CURRENCIES.get(code);
}

/** All of them, by code. */
export function listCurrencies(): Currency[] {
  return [...CURRENCIES.values()];
}
