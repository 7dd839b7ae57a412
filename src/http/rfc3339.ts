import { isISO8601 } from 'class-validator';

/** RFC 3339 asks for all of date, time and offset, which ISO 8601 alone does not. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** A time as RFC 3339 writes it, on a day that there is: no 30th of February. */
export function isRfc3339(text: string): boolean {
  return RFC_3339.test(text) && isISO8601(text, { strict: true });
}
