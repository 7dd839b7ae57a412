import { randomUUID } from 'node:crypto';
import { HttpConnection, type RawAnswer } from './http-connection.js';
import { percentile, type LoadJob, type LoadReport, type LoadResult } from './load.js';

const PREPARING_CONNECTIONS = 32;
/** Nothing measured here takes this long: a later answer means that something is stuck. */
const ANSWER_LIMIT_MS = 20_000;

const job = JSON.parse(process.argv[2] ?? '') as LoadJob;
const run = randomUUID().slice(0, 8);
let keys = 0;
let charges = 0;

/** Unique to this run. Keys count up within a run; their order across runs is random. */
function newKey(): string {
  return `order-${run}-${(keys++).toString().padStart(9, '0')}`;
}

async function main(): Promise<LoadResult> {
  const replayed = job.kind === 'replay' ? await prepareReplays() : null;
  const measured = new Measured(performance.now() + job.warmUpMs, job.measureMs);
  setTimeout(() => process.send?.({ warm: true } satisfies LoadReport), job.warmUpMs);
  let next = 0;
  const connection = async (): Promise<void> => {
    const http = new HttpConnection(job.port);
    for (let sentMs = performance.now(); sentMs < measured.endMs;) {
      const key = replayed === null ? newKey() : (replayed[next++ % replayed.length] ?? '');
      check(await http.charge(key), replayed === null ? 'false' : 'true');
      if (replayed === null) charges += 1;
      const answeredMs = performance.now();
      measured.answer(sentMs, answeredMs);
      sentMs = answeredMs;
    }
    http.close();
  };
  await Promise.all(Array.from({ length: job.connections }, connection));
  return measured.result();
}

/**
 * Counts the answers within the measured time. An answer that comes after it counts for the latencies only: left out, the
 * requests that were held up for longest would be missing from them.
 */
class Measured {
  readonly endMs: number;
  private readonly latencies: number[] = [];
  private inTime = 0;
  private answers = 0;
  private readonly cpuAtStart = process.cpuUsage();

  constructor(
    private readonly startMs: number,
    private readonly measureMs: number,
  ) {
    this.endMs = startMs + measureMs;
  }

  answer(sentMs: number, answeredMs: number): void {
    if (answeredMs < this.startMs) return;
    this.answers += 1;
    this.latencies.push(answeredMs - sentMs);
    if (answeredMs < this.endMs) this.inTime += 1;
  }

  result(): LoadResult {
    const sorted = Float64Array.from(this.latencies).toSorted();
    const cpu = process.cpuUsage(this.cpuAtStart);
    const elapsedMs = performance.now() - this.startMs + job.warmUpMs;
    // performance.now() counts from the start of this process, hrtime from the start of the machine.
    const offsetUs = Number(process.hrtime.bigint() / 1_000n) - performance.now() * 1_000;
    return {
      perSecond: (this.inTime / this.measureMs) * 1_000,
      p50Ms: percentile(sorted, 0.5),
      p99Ms: percentile(sorted, 0.99),
      slowestMs: sorted.at(-1) ?? Number.NaN,
      charges,
      answers: this.answers,
      generatorCpu: (cpu.user + cpu.system) / 1_000 / elapsedMs,
      fromUs: offsetUs + this.startMs * 1_000,
      toUs: offsetUs + this.endMs * 1_000,
    };
  }
}

async function prepareReplays(): Promise<string[]> {
  const replayed = Array.from({ length: job.replayedKeys }, newKey);
  const waiting = [...replayed];
  const connection = async (): Promise<void> => {
    const http = new HttpConnection(job.port);
    for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
      check(await http.charge(key), 'false');
      charges += 1;
    }
    http.close();
  };
  await Promise.all(Array.from({ length: PREPARING_CONNECTIONS }, connection));
  return replayed;
}

function check(answer: RawAnswer, replayed: 'true' | 'false'): void {
  const wrong =
    !answer.startsWith('HTTP/1.1 201 ') ||
    (job.saysReplayed && !answer.includes(`\r\nidempotent-replayed: ${replayed}\r\n`));
  if (wrong) throw new Error(`a wrong answer to a ${job.kind} request:\n${answer}`);
}

function report(message: LoadReport): void {
  process.send?.(message, () => process.exit('failure' in message ? 1 : 0));
}

process.on('disconnect', () => process.exit(1));
setTimeout(
  () => report({ failure: 'an answer did not come' }),
  job.warmUpMs + job.measureMs + 2 * ANSWER_LIMIT_MS,
).unref();
main().then(
  (result) => report({ result }),
  (error: unknown) => report({ failure: String(error) }),
);
