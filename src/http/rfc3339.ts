import { isISO8601 } from 'class-validator';

/** RFC 3339 requires date, time and offset; ISO 8601 alone does not. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** Whether the text is an RFC 3339 time on a day that exists: no 30th of February. */
export function isRfc3339(text: string): boolean {
  return RFC_3339.test(text) && isISO8601(text, { strict: true });
}
