import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { Config } from '../../src/config/config.js';
import { DueClaims } from '../../src/idempotency/due-claims.js';
import { MAX_RESUMED, type OperationResumer } from '../../src/idempotency/operation.resumer.js';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';

const INTERVAL_MS = 1_000;
const MAX_EXTRA_RUNS = 4;

describe('the recovery worker', () => {
  let dueClaims: DueClaims;
  let worker: RecoveryWorker;
  /** Each run waits here, as for a slow gateway, until the test ends it. */
  let runs: PromiseWithResolvers<number>[];

  beforeEach(() => {
    Logger.overrideLogger(false);
    jest.useFakeTimers();
    runs = [];
    dueClaims = new DueClaims();
    const resumer = {
      resumeExpired() {
        const run = Promise.withResolvers<number>();
        runs.push(run);
        return run.promise;
      },
    } as OperationResumer;
    worker = new RecoveryWorker({ idempotencyLeaseMs: 6 * INTERVAL_MS } as Config, resumer, dueClaims);
    worker.onApplicationBootstrap();
  });
  afterEach(async () => {
    const stopped = worker.onModuleDestroy();
    for (const run of runs) run.resolve(0);
    await stopped;
    if (jest.getTimerCount() > 0) throw new Error('a timer is left');
    jest.useRealTimers();
  });

  const flush = () => jest.advanceTimersByTimeAsync(0);
  async function wake(times: number): Promise<void> {
    for (let n = 0; n < times; n += 1) dueClaims.wake();
    await flush();
  }
  async function end(run: number, resumed = 0): Promise<void> {
    runs[run]!.resolve(resumed);
    await flush();
  }

  it('takes what is due at once when it is woken, without waiting for its next round', async () => {
    await wake(1);
    expect(runs).toHaveLength(1);
  });

  it('can be woken during a round that waits for a slow gateway', async () => {
    await jest.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(runs).toHaveLength(1);
    await wake(1);
    expect(runs).toHaveLength(2);
  });

  it('goes on with its rounds while a woken run waits for a slow gateway', async () => {
    await wake(MAX_EXTRA_RUNS);
    await jest.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(runs).toHaveLength(MAX_EXTRA_RUNS + 1);
  });

  it('never runs more at once than its limit, and loses no wake that comes then', async () => {
    await wake(MAX_EXTRA_RUNS);
    await wake(1);
    expect(runs).toHaveLength(MAX_EXTRA_RUNS);
    await end(2);
    expect(runs).toHaveLength(MAX_EXTRA_RUNS + 1);
  });

  it('runs again at once while more is due than one run takes', async () => {
    await wake(1);
    await end(0, MAX_RESUMED);
    expect(runs).toHaveLength(2);
    await end(1, MAX_RESUMED - 1);
    expect(runs).toHaveLength(2);
  });

  it('leaves what a failed run did not take to a later one', async () => {
    await wake(1);
    runs[0]!.reject(new Error('no database'));
    await flush();
    await wake(1);
    expect(runs).toHaveLength(2);
    await end(1);
    await jest.advanceTimersByTimeAsync(INTERVAL_MS);
    expect(runs.length).toBeGreaterThan(2);
  });

  it('waits for every run at a shutdown, takes nothing more after it, and cannot be woken', async () => {
    await wake(2);
    let stopped = false;
    const stopping = worker.onModuleDestroy().then(() => (stopped = true));
    await end(0, MAX_RESUMED);
    expect(stopped).toBe(false);
    await end(1, MAX_RESUMED);
    await stopping;
    await wake(1);
    await jest.advanceTimersByTimeAsync(10 * INTERVAL_MS);
    expect(runs).toHaveLength(2);
  });
});
