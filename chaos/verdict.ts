import { ANSWER_CHECKS } from './verdict-answers.js';
import { BOOK_CHECKS } from './verdict-books.js';
import type { Evidence } from './evidence.js';
import { PROTOCOL_CHECKS } from './verdict-protocol.js';
import { TRUTH_CHECKS } from './verdict-truth.js';

/** One thing that must hold at the end. What is found breaks it: nothing when all is right. */
export interface Check {
  name: string;
  /** What holds, as a sentence. */
  claim: string;
  find: (evidence: Evidence) => object[];
}

export interface Discrepancy {
  name: string;
  claim: string;
  row: object;
}

export const CHECKS: readonly Check[] = [
  ...BOOK_CHECKS,
  ...ANSWER_CHECKS,
  ...TRUTH_CHECKS,
  ...PROTOCOL_CHECKS,
];

/** Everything that contradicts something else. One is enough to fail. */
export function judge(evidence: Evidence): Discrepancy[] {
  return CHECKS.flatMap(({ name, claim, find }) => find(evidence).map((row) => ({ name, claim, row })));
}
