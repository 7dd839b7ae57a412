/**
 * Stripe counts in a currency's smallest unit. So do we, by ISO 4217. Where the two differ, an amount would be wrong by
 * a factor of 100, so every difference is listed here (docs.stripe.com/currencies: "zero-decimal" and "special cases").
 */

/** No decimals in ISO 4217, two at Stripe "for backwards compatibility": 5 ISK are 500. */
const TWO_DECIMALS_MORE: ReadonlySet<string> = new Set(['ISK', 'UGX']);

/** Two decimals in ISO 4217 (a fifth of an ariary exists on paper), none at Stripe. */
const TWO_DECIMALS_LESS: ReadonlySet<string> = new Set(['MGA']);

/** Three decimals on both sides, but Stripe's card partners take two: the last digit has to be 0. */
const THREE_DECIMALS: ReadonlySet<string> = new Set(['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND']);

/**
 * Stripe's number for an amount in the currency's minor unit. Null if Stripe cannot express it: we never round. HUF and
 * TWD are special only for payouts, and are charged with two decimals like most currencies.
 */
export function toStripeAmount(amountMinor: bigint, currency: string): number | null {
  if (TWO_DECIMALS_MORE.has(currency)) return Number(amountMinor * 100n);
  if (TWO_DECIMALS_LESS.has(currency)) return amountMinor % 100n === 0n ? Number(amountMinor / 100n) : null;
  if (THREE_DECIMALS.has(currency)) return amountMinor % 10n === 0n ? Number(amountMinor) : null;
  return Number(amountMinor);
}

/**
 * The amount in the currency's minor unit for Stripe's number. Null if the minor unit cannot express it, such as a part
 * of a króna that somebody refunded in Stripe's dashboard.
 */
export function fromStripeAmount(amount: number, currency: string): bigint | null {
  if (TWO_DECIMALS_MORE.has(currency)) return amount % 100 === 0 ? BigInt(amount) / 100n : null;
  if (TWO_DECIMALS_LESS.has(currency)) return BigInt(amount) * 100n;
  return BigInt(amount);
}
