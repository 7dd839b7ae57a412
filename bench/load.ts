import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export type LoadKind = 'new' | 'replay';

export interface LoadJob {
  port: number;
  kind: LoadKind;
  connections: number;
  warmUpMs: number;
  measureMs: number;
  /** How many answers a replay load asks for again and again. */
  replayedKeys: number;
  /** Whether answers must say `Idempotent-Replayed`; the references do not know the header. */
  saysReplayed: boolean;
}

export interface Rates {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
}

export interface LoadResult extends Rates {
  /** New charges that were answered with 201, including those outside the measured time. */
  charges: number;
  slowestMs: number;
  /** All answers since the measured time began, the last ones of its connections included. */
  answers: number;
  /** The generator's own share of one core. */
  generatorCpu: number;
  /** The measured time, on the monotonic clock of the machine. */
  fromUs: number;
  toUs: number;
}

/**
 * The measured time begins, or the run has ended. Any other answer than the expected one ends a run: a fast wrong
 * answer is not a result.
 */
export type LoadReport = { warm: true } | { result: LoadResult } | { failure: string };

const PROGRAM = fileURLToPath(new URL('./load.process.js', import.meta.url));

/**
 * Runs the load generator in a process of its own.
 * @param onWarm called when the measured time begins
 */
export function runLoad(job: LoadJob, onWarm?: () => void): Promise<LoadResult> {
  // JSON has no NaN, which is the latency of no answers.
  const child = fork(PROGRAM, [JSON.stringify(job)], { serialization: 'advanced' });
  return new Promise((resolve, reject) => {
    child.on('message', (report: LoadReport) => {
      if ('warm' in report) onWarm?.();
      else if ('result' in report) resolve(report.result);
      else reject(new Error(report.failure));
    });
    child.once('exit', () => reject(new Error('the load generator ended without a result')));
  });
}

/** The value below which `share` of the sorted values lie. */
export function percentile(sorted: readonly number[] | Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
