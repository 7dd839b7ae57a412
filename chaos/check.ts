import type { Evidence } from './evidence.js';

/** One thing that must hold at the end. `find` returns whatever breaks it. */
export interface Check {
  name: string;
  /** What holds, as a sentence. */
  holds: string;
  find: (evidence: Evidence) => object[];
}

export function sum(rows: readonly { amount: number }[]): number {
  return rows.reduce((total, { amount }) => total + amount, 0);
}
