/** An idempotency key within its merchant. */
export interface ScopedKey {
  merchantId: string;
  idempotencyKey: string;
}

/**
 * Merchant and key as one string, for maps. Merchant ids have a fixed length, so two keys never give the same string.
 */
export function identityOf({ merchantId, idempotencyKey }: ScopedKey): string {
  return merchantId + idempotencyKey;
}

/** The one order in which every group locks its rows. */
export function compareKeys(a: ScopedKey, b: ScopedKey): number {
  if (a.merchantId !== b.merchantId) return a.merchantId < b.merchantId ? -1 : 1;
  if (a.idempotencyKey === b.idempotencyKey) return 0;
  return a.idempotencyKey < b.idempotencyKey ? -1 : 1;
}
