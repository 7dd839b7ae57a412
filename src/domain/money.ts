/**
 * Money is a `bigint` count of the currency's minor unit, together with its currency. A number appears only on the
 * wire, where 999 999 999 999 is far below 2^53 and so survives JSON.
 */
export const MIN_AMOUNT_MINOR = 1n;
export const MAX_AMOUNT_MINOR = 999_999_999_999n;

/** An amount as a number for the wire. Throws a RangeError if JSON could not carry it exactly. */
export function amountToWire(amountMinor: bigint): number {
  const wire = Number(amountMinor);
  if (!Number.isSafeInteger(wire)) throw new RangeError(`amount ${amountMinor} does not survive JSON`);
  return wire;
}

/** The amount for a validated number from the wire. Throws a RangeError unless it is a safe integer. */
export function amountFromWire(wire: number): bigint {
  if (!Number.isSafeInteger(wire)) throw new RangeError(`${wire} is not an exact amount`);
  return BigInt(wire);
}
