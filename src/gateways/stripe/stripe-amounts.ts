/**
 * Stripe counts in a currency's smallest unit, and so do we, by ISO 4217. Where the two differ, a factor of 100 is at
 * stake, so every difference is written down here (docs.stripe.com/currencies: "zero-decimal" and "special cases").
 */

/** Without decimals in ISO 4217, with two at Stripe "for backwards compatibility": 5 ISK are 500. */
const TWO_DECIMALS_MORE: ReadonlySet<string> = new Set(['ISK', 'UGX']);

/** With two decimals in ISO 4217 (a fifth of an ariary exists on paper), without any at Stripe. */
const TWO_DECIMALS_LESS: ReadonlySet<string> = new Set(['MGA']);

/** With three decimals on both sides, of which Stripe's card partners take two: the last digit has to be 0. */
const THREE_DECIMALS: ReadonlySet<string> = new Set(['BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND']);

/**
 * Stripe's number for an amount in the currency's minor unit, or null for one that Stripe cannot express: it is never
 * rounded. HUF and TWD are special for payouts only, and charged with two decimals like most others.
 */
export function toStripeAmount(amountMinor: bigint, currency: string): number | null {
  if (TWO_DECIMALS_MORE.has(currency)) return Number(amountMinor * 100n);
  if (TWO_DECIMALS_LESS.has(currency)) return amountMinor % 100n === 0n ? Number(amountMinor / 100n) : null;
  if (THREE_DECIMALS.has(currency)) return amountMinor % 10n === 0n ? Number(amountMinor) : null;
  return Number(amountMinor);
}

/**
 * The amount in the currency's minor unit for Stripe's number, or null for one that the minor unit cannot express, such
 * as a part of a króna that somebody refunded in Stripe's dashboard.
 */
export function fromStripeAmount(amount: number, currency: string): bigint | null {
  if (TWO_DECIMALS_MORE.has(currency)) return amount % 100 === 0 ? BigInt(amount) / 100n : null;
  if (TWO_DECIMALS_LESS.has(currency)) return BigInt(amount) * 100n;
  return BigInt(amount);
}
