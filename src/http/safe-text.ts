const SURROGATE = /[\ud800-\udfff]/;

/** Whether PostgreSQL can store the text, and it has `min` to `max` characters (code points, as in `char_length`). */
export function isSafeText(value: string, min: number, max: number): boolean {
  // A character is one or two UTF-16 units, so a string over twice the limit is too long without counting.
  if (value.length > 2 * max || value.includes('\u0000')) return false;
  if (!SURROGATE.test(value)) return min <= value.length && value.length <= max;
  const length = Array.from(value).length;
  return value.isWellFormed() && min <= length && length <= max;
}
