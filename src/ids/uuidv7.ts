import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

const RANDOM_BYTES_PER_ID = 16;
const IDS_PER_FILL = 256;

const pool = Buffer.allocUnsafeSlow(RANDOM_BYTES_PER_ID * IDS_PER_FILL);
let used = pool.length;

/** Fetches random bytes for many ids at once: a system call per id costs ten times the id. Each byte is used once. */
function randomBytes(): Uint8Array {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += RANDOM_BYTES_PER_ID;
  return pool.subarray(used - RANDOM_BYTES_PER_ID, used);
}

/** A UUIDv7 (RFC 9562) for now, or for a given time. Ids of the same millisecond have no order. */
export function uuidv7(msecs: number = Date.now()): string {
  return v7({ msecs, rng: randomBytes });
}

const LAST_MS = 2 ** 48 - 1;

/** The smallest id of a millisecond, as a bound for a range of times. A time outside what ids can hold is clamped. */
export function firstUuidAt(time: Date): string {
  const msecs = Math.min(Math.max(time.getTime(), 0), LAST_MS);
  const hex = msecs.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
