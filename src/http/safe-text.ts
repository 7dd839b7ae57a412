const SURROGATE = /[\ud800-\udfff]/;

/** Whether PostgreSQL can store the text and counts `min` to `max` characters: code points, as `char_length` does. */
export function isSafeText(value: string, min: number, max: number): boolean {
  // A character is one or two units, so what is far too long need not be looked at.
  if (value.length > 2 * max || value.includes('\u0000')) return false;
  if (!SURROGATE.test(value)) return min <= value.length && value.length <= max;
  const length = Array.from(value).length;
  return value.isWellFormed() && min <= length && length <= max;
}
