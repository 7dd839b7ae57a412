import type { CheckResult } from '../verification/verification.js';
import { formatTable } from './table.js';

export function isVerified(results: readonly CheckResult[]): boolean {
  return results.every(({ broken }) => broken.length === 0);
}

export function verificationToWire(results: readonly CheckResult[]) {
  return {
    ok: isVerified(results),
    checks: results.map(({ name, holds, broken, more }) => ({
      name,
      claim: holds,
      ok: broken.length === 0,
      broken,
      more,
    })),
  };
}

/** One line per check. Below a failed check come the rows that break it. */
export function describeVerification(results: readonly CheckResult[]): string[] {
  const failed = results.filter(({ broken }) => broken.length > 0).length;
  return [
    ...results.flatMap(describeCheck),
    '',
    failed === 0
      ? `All ${results.length} checks hold.`
      : `${failed} of ${results.length} checks do not hold.`,
  ];
}

function describeCheck({ name, holds, broken, more }: CheckResult): string[] {
  if (broken.length === 0) return [`ok      ${name}: ${holds}`];
  const rows = broken.map((row) =>
    Object.fromEntries(Object.entries(row).map(([column, value]) => [column, cell(value)])),
  );
  return [`BROKEN  ${name}: ${holds}`, formatTable(rows, ''), ...(more ? ['… and more'] : [])];
}

/** A key is text from a client, so we remove control characters, which a terminal would obey. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return '-';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.replaceAll(/\p{Cc}/gu, '\u{fffd}');
}
