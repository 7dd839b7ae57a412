import type { Rates } from './load.js';
import type { Plan } from './plan.js';

export type Subject =
  | 'hapax-new'
  | 'hapax-replay'
  | 'earlier-new'
  | 'earlier-replay'
  | 'pgbench'
  | 'find-new'
  | 'find-replay'
  | 'empty';

export const SUBJECT_NAMES: Readonly<Record<Subject, string>> = {
  'hapax-new': 'Hapax, new charges',
  'earlier-new': 'earlier Hapax, new charges',
  pgbench: 'pgbench, same statements',
  'find-new': 'find-then-save, new charges',
  empty: 'empty validated route',
  'hapax-replay': 'Hapax, replays',
  'earlier-replay': 'earlier Hapax, replays',
  'find-replay': 'find-then-save, replays',
};

/** One run of one subject. */
export interface Measurement extends Rates {
  subject: Subject;
  connections: number;
  /** The load generator's own share of one core; null for pgbench, which brings its own. */
  generatorCpu: number | null;
  /** The server's CPU time for an answer; null for pgbench. */
  nodeUs: number | null;
}

export interface Target {
  name: string;
  of: Subject;
  to: Subject;
  atLeast: number;
  /** Only a promised target can be missed; an aim is just shown. */
  promised: boolean;
}

export const TARGET_CONNECTIONS = 64;
const TARGETS: readonly Target[] = [
  { name: 'new charges / pgbench', of: 'hapax-new', to: 'pgbench', atLeast: 3, promised: true },
  { name: 'new charges / find-then-save', of: 'hapax-new', to: 'find-new', atLeast: 4, promised: true },
  { name: 'replays / empty route', of: 'hapax-replay', to: 'empty', atLeast: 0.7, promised: true },
  { name: 'new charges / empty route', of: 'hapax-new', to: 'empty', atLeast: 0.5, promised: false },
];

/**
 * Prints the medians and, where the plan judges them, the targets.
 * @returns how many targets were missed
 */
export function conclude(
  { judged }: Plan,
  runs: string,
  measurements: readonly Measurement[],
  targets: readonly Target[] = TARGETS,
): number {
  console.log(`\nMedians of ${runs}:\n\n${table(measurements)}\n`);
  if (!judged) {
    console.log('Every subject answered, and the databases hold what was answered. No figure was judged.');
    return 0;
  }
  const { text, missed } = ratios(measurements, targets);
  console.log(text);
  return missed;
}

/** One row for each subject and number of connections, as Markdown. */
function table(measurements: readonly Measurement[]): string {
  const rows = [['subject', 'connections', 'per second', 'p50 ms', 'p99 ms', 'Node µs', 'generator CPU']];
  for (const subject of Object.keys(SUBJECT_NAMES) as Subject[]) {
    for (const connections of new Set(measurements.map((each) => each.connections))) {
      const runs = measurements.filter(
        (each) => each.subject === subject && each.connections === connections,
      );
      if (runs.length === 0) continue;
      const cpu = median(runs.map(({ generatorCpu }) => generatorCpu ?? Number.NaN));
      const nodeUs = median(runs.map((run) => run.nodeUs ?? Number.NaN));
      rows.push([
        SUBJECT_NAMES[subject],
        String(connections),
        median(runs.map(({ perSecond }) => perSecond)).toFixed(0),
        median(runs.map(({ p50Ms }) => p50Ms)).toFixed(2),
        median(runs.map(({ p99Ms }) => p99Ms)).toFixed(2),
        Number.isNaN(nodeUs) ? '–' : nodeUs.toFixed(0),
        Number.isNaN(cpu) ? '–' : `${(cpu * 100).toFixed(0)} %`,
      ]);
    }
  }
  return markdown(rows);
}

/** The promised ratios, and whether each was kept. */
function ratios(
  measurements: readonly Measurement[],
  targets: readonly Target[],
): { text: string; missed: number } {
  const rows = [[`ratio at ${TARGET_CONNECTIONS} connections`, 'of medians', 'rounds', 'target', 'verdict']];
  let missed = 0;
  for (const { name, of, to, atLeast, promised } of targets) {
    const [over, under] = [ratesAtTarget(measurements, of), ratesAtTarget(measurements, to)];
    if (over.length === 0 || under.length === 0) {
      rows.push([name, '–', '–', `>= ${atLeast}`, 'skipped']);
      continue;
    }
    const ratio = median(over) / median(under);
    const met = ratio >= atLeast;
    if (!met && promised) missed += 1;
    rows.push([
      name,
      ratio.toFixed(2),
      over.map((rate, round) => (rate / (under[round] ?? Number.NaN)).toFixed(2)).join(' '),
      `>= ${atLeast}${promised ? '' : ' (aim)'}`,
      met ? 'PASS' : promised ? 'MISS' : 'not yet',
    ]);
  }
  return { text: markdown(rows), missed };
}

function ratesAtTarget(measurements: readonly Measurement[], subject: Subject): number[] {
  return measurements
    .filter((each) => each.subject === subject && each.connections === TARGET_CONNECTIONS)
    .map(({ perSecond }) => perSecond);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

/** Padded, so that it is readable in a terminal too. The first column holds words, the others numbers. */
export function markdown(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows;
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const pad = (cell: string, column: number): string =>
    column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);
  const line = (row: readonly string[]): string => `| ${row.map(pad).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...body.map(line)].join('\n');
}
