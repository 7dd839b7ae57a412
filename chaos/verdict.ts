import type { Check } from './check.js';
import type { Evidence } from './evidence.js';
import { ANSWER_CHECKS } from './verdict-answers.js';
import { BOOK_CHECKS } from './verdict-books.js';
import { EVENT_CHECKS } from './verdict-events.js';
import { LEDGER_CHECKS } from './verdict-ledger.js';
import { PROTOCOL_CHECKS } from './verdict-protocol.js';
import { TRUTH_CHECKS } from './verdict-truth.js';

export interface Discrepancy {
  name: string;
  holds: string;
  row: object;
}

export const CHECKS: readonly Check[] = [
  ...BOOK_CHECKS,
  ...LEDGER_CHECKS,
  ...EVENT_CHECKS,
  ...ANSWER_CHECKS,
  ...TRUTH_CHECKS,
  ...PROTOCOL_CHECKS,
];

/** All contradictions. One is enough to fail. */
export function judge(evidence: Evidence): Discrepancy[] {
  return CHECKS.flatMap(({ name, holds, find }) => find(evidence).map((row) => ({ name, holds, row })));
}
