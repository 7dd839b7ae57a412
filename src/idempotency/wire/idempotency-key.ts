import { parseItem } from 'structured-headers';
import { RefusedError } from '../../domain/errors.js';

export const MAX_KEY_LENGTH = 255;
const VISIBLE_ASCII = /^[\x21-\x7e]+$/;

/**
 * Reads `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07). The draft writes the key as an RFC 9651
 * string, `"k"`, while Stripe's clients and most others send a bare `k`: both are one key. Two header lines are
 * refused, because proxies join or drop them as they like.
 *
 * @param rawHeaders alternating names and values, as Node gives them: only there can we tell two lines from one.
 * @returns null if there is none.
 * @throws RefusedError `idempotency_key_invalid`.
 */
export function readIdempotencyKey(rawHeaders: readonly string[]): string | null {
  const lines: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() === 'idempotency-key') lines.push(rawHeaders[index + 1] ?? '');
  }
  const [line, ...more] = lines;
  if (line === undefined) return null;
  if (more.length > 0) throw invalid('the header was sent more than once');
  // Optional white space around a field's value is spaces and tabs, and nothing else (RFC 9110 section 5.5).
  return parseIdempotencyKey(line.replace(/^[ \t]+|[ \t]+$/g, ''));
}

/** The key in a header's value. */
export function parseIdempotencyKey(value: string): string {
  const key = value.startsWith('"') ? parseQuoted(value) : value;
  if (key.length === 0) throw invalid('it is empty');
  if (key.length > MAX_KEY_LENGTH) throw invalid(`it is longer than ${MAX_KEY_LENGTH} characters`);
  if (!VISIBLE_ASCII.test(key)) throw invalid('it may hold visible ASCII characters only, and no spaces');
  return key;
}

/** True for every value that {@link parseIdempotencyKey} accepts. */
export function isIdempotencyKey(value: string): boolean {
  try {
    parseIdempotencyKey(value);
    return true;
  } catch {
    return false;
  }
}

function parseQuoted(value: string): string {
  let item: unknown;
  try {
    [item] = parseItem(value);
  } catch (error) {
    throw invalid('it begins with a quote but is no RFC 9651 string', error);
  }
  if (typeof item !== 'string') throw invalid('it begins with a quote but is no RFC 9651 string');
  return item;
}

function invalid(reason: string, cause?: unknown): RefusedError {
  return new RefusedError({ code: 'idempotency_key_invalid', reason }, { cause });
}
