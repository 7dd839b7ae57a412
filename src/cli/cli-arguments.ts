import { InvalidArgumentError } from 'commander';
import ms from 'ms';
import { isScope, type Scope, SCOPES } from '../auth/scopes.js';
import { isRfc3339 } from '../http/rfc3339.js';
import { isSafeText } from '../http/safe-text.js';

const MAX_NAME_LENGTH = 100;
/**
 * We hold the lines to show in memory, so their number has a limit. Everything is counted, whether it is shown or not.
 */
const MAX_SHOWN_LINES = 100_000;
const MAX_DURATION_MS = 10 * 365 * 24 * 3_600_000;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const DURATION = /^\d+(\.\d+)? ?[a-z]+$/i;

export function merchantName(value: string): string {
  const name = value.trim();
  // Names are printed to terminals, which obey control characters.
  if (isSafeText(name, 1, MAX_NAME_LENGTH) && !/\p{Cc}/u.test(name)) return name;
  throw new InvalidArgumentError(
    `It must be 1 to ${MAX_NAME_LENGTH} characters, without control characters.`,
  );
}

export function uuid(value: string): string {
  if (UUID.test(value)) return value.toLowerCase();
  throw new InvalidArgumentError('It must be a UUID.');
}

export function scopeList(value: string): Scope[] {
  const names = value.split(',').map((name) => name.trim());
  const scopes = names.filter(isScope);
  if (scopes.length === names.length) return SCOPES.filter((scope) => scopes.includes(scope));
  throw new InvalidArgumentError(`It must be a list of ${SCOPES.join(', ')}, separated by commas.`);
}

export function lifetime(value: string): number {
  return duration(value, 1);
}

export function overlap(value: string): number {
  return duration(value, 0);
}

export function age(value: string): number {
  return duration(value, 0);
}

/** An RFC 3339 time. */
export function moment(value: string): Date {
  if (isRfc3339(value)) return new Date(value);
  throw new InvalidArgumentError('It must be a time such as 2026-01-31T00:00:00Z (RFC 3339).');
}

export function shownLines(value: string): number {
  if (/^\d{1,6}$/.test(value) && Number(value) <= MAX_SHOWN_LINES) return Number(value);
  throw new InvalidArgumentError(`It must be a whole number up to ${MAX_SHOWN_LINES}.`);
}

function duration(value: string, min: number): number {
  const parsed = DURATION.test(value) ? ms(value as ms.StringValue) : undefined;
  if (parsed !== undefined && min <= parsed && parsed <= MAX_DURATION_MS) return Math.round(parsed);
  throw new InvalidArgumentError(
    'It must be a number with its unit, such as 90d, 24h or 30m, up to 10 years.',
  );
}
