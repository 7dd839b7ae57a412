import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { Backoff } from '../../src/time/backoff.js';
import { Worker, type Next, type WorkerSettings } from '../../src/time/worker.js';

const IDLE_MS = 1_000;
const FIRST_FAILURE_MS = 100;
const LONGEST_FAILURE_MS = 400;

describe('a worker', () => {
  const warn = jest.spyOn(Logger.prototype, 'warn');

  beforeEach(() => {
    jest.useFakeTimers();
    warn.mockReset();
  });
  afterEach(() => {
    if (jest.getTimerCount() > 0) throw new Error('a timer is left');
    jest.useRealTimers();
  });
  afterAll(() => warn.mockRestore());

  it('runs at once, and again after each idle time', async () => {
    const { worker, runs, end } = scripted();
    worker.start();
    expect(runs()).toBe(1);
    await end({ idleMs: IDLE_MS });
    await jest.advanceTimersByTimeAsync(IDLE_MS - 1);
    expect(runs()).toBe(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(runs()).toBe(2);
    await stop(worker, end);
  });

  it('runs again at once while there is more to do', async () => {
    const { worker, runs, end } = scripted();
    worker.start();
    await end('again');
    await end('again');
    expect(runs()).toBe(3);
    await stop(worker, end);
  });

  it('never runs twice at the same time, however often it is started and woken', async () => {
    const { worker, runs, most, end } = scripted();
    worker.start();
    worker.start();
    for (let n = 0; n < 5; n += 1) worker.wake();
    await jest.advanceTimersByTimeAsync(10 * IDLE_MS);
    expect(runs()).toBe(1);
    await end({ idleMs: IDLE_MS });
    expect(runs()).toBe(2);
    await stop(worker, end);
    expect(most()).toBe(1);
  });

  it('runs at once when woken while idle, and only once for many wakes', async () => {
    const { worker, runs, end } = scripted();
    worker.start();
    await end({ idleMs: IDLE_MS });
    worker.wake();
    worker.wake();
    await flush();
    expect(runs()).toBe(2);
    await end({ idleMs: IDLE_MS });
    expect(runs()).toBe(2);
    await stop(worker, end);
  });

  it('runs once more if it was woken during a run', async () => {
    const { worker, runs, end } = scripted();
    worker.start();
    worker.wake();
    await end({ idleMs: IDLE_MS });
    expect(runs()).toBe(2);
    await end({ idleMs: IDLE_MS });
    expect(runs()).toBe(2);
    await stop(worker, end);
  });

  it('waits out a pause, woken or not, so that work gathers', async () => {
    const { worker, runs, end } = scripted();
    worker.start();
    worker.wake();
    await end({ pauseMs: 50 });
    worker.wake();
    await jest.advanceTimersByTimeAsync(49);
    expect(runs()).toBe(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(runs()).toBe(2);
    await stop(worker, end);
  });

  it('idles until woken if its idle time is infinite', async () => {
    const { worker, runs, end } = scripted({ firstIdleMs: Infinity });
    worker.start();
    await jest.advanceTimersByTimeAsync(1_000_000);
    expect(runs()).toBe(0);
    worker.wake();
    await flush();
    expect(runs()).toBe(1);
    await stop(worker, end);
  });

  it('is idle only while a wake would start a run', async () => {
    const { worker, end } = scripted();
    expect(worker.isIdle).toBe(false);
    worker.start();
    expect(worker.isIdle).toBe(false);
    await end({ idleMs: IDLE_MS });
    expect(worker.isIdle).toBe(true);
    worker.wake();
    expect(worker.isIdle).toBe(false);
    await end({ pauseMs: 50 });
    expect(worker.isIdle).toBe(false);
    await stop(worker, end);
  });

  it('pauses longer after each failure, until a run succeeds', async () => {
    const { worker, runs, end } = scripted();
    worker.start();
    for (const pauseMs of [100, 200, 400, 400]) {
      const before = runs();
      await end('failed');
      await jest.advanceTimersByTimeAsync(pauseMs - 1);
      expect(runs()).toBe(before);
      await jest.advanceTimersByTimeAsync(1);
      expect(runs()).toBe(before + 1);
    }
    await end('again');
    await end('failed');
    await jest.advanceTimersByTimeAsync(FIRST_FAILURE_MS);
    expect(runs()).toBe(7);
    expect(warn).not.toHaveBeenCalled();
    await stop(worker, end);
  });

  it('does not end the pause after a failure when woken', async () => {
    const { worker, runs, end } = scripted();
    worker.start();
    worker.wake();
    await end('failed');
    worker.wake();
    await jest.advanceTimersByTimeAsync(FIRST_FAILURE_MS - 1);
    expect(runs()).toBe(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(runs()).toBe(2);
    await stop(worker, end);
  });

  it('logs a run that throws, and runs again after the pause', async () => {
    const { worker, runs, fail, end } = scripted();
    worker.start();
    await fail(new Error('the database is away'));
    expect(warn.mock.calls).toEqual([['will try again in 100 ms: Error: the database is away']]);
    worker.wake();
    await jest.advanceTimersByTimeAsync(FIRST_FAILURE_MS);
    expect(runs()).toBe(2);
    await stop(worker, end);
  });

  it('logs the configured failure text', async () => {
    const { worker, fail } = scripted({ failure: 'could not relay' });
    worker.start();
    await fail('no');
    expect(warn.mock.calls).toEqual([['could not relay: no']]);
    await worker.stop();
  });

  it.each<Next>([{ idleMs: IDLE_MS }, { idleMs: Infinity }, { pauseMs: IDLE_MS }, 'failed'])(
    'stops at once in a pause: %j',
    async (next) => {
      const { worker, runs, end } = scripted();
      worker.start();
      await end(next);
      await worker.stop();
      worker.wake();
      await jest.advanceTimersByTimeAsync(2 * IDLE_MS);
      expect(runs()).toBe(1);
    },
  );

  it('aborts the current run when it stops, waits for it, and starts no other', async () => {
    const { worker, runs, end, signal } = scripted();
    worker.start();
    worker.wake();
    let stopped = false;
    const stopping = worker.stop().then(() => (stopped = true));
    expect(signal()?.aborted).toBe(true);
    await jest.advanceTimersByTimeAsync(1_000_000);
    expect(stopped).toBe(false);
    await end('again');
    await stopping;
    expect(runs()).toBe(1);
  });

  it('stops waiting at its limit for a run that does not end', async () => {
    const { worker, runs, end } = scripted({ stopLimitMs: 300 });
    worker.start();
    let stopped = false;
    const stopping = worker.stop().then(() => (stopped = true));
    await jest.advanceTimersByTimeAsync(299);
    expect(stopped).toBe(false);
    await jest.advanceTimersByTimeAsync(2);
    await stopping;
    await end('again');
    expect(runs()).toBe(1);
  });

  it('never runs if stopped before it starts', async () => {
    const { worker, runs } = scripted();
    await worker.stop();
    worker.start();
    await flush();
    expect(runs()).toBe(0);
  });

  it('runs at a fixed interval, even after a failure', async () => {
    let runs = 0;
    const worker = Worker.every('Test', IDLE_MS, () => {
      runs += 1;
      return runs === 2 ? Promise.reject(new Error('no')) : Promise.resolve();
    });
    worker.start();
    await jest.advanceTimersByTimeAsync(IDLE_MS - 1);
    expect(runs).toBe(0);
    await jest.advanceTimersByTimeAsync(1);
    expect(runs).toBe(1);
    await jest.advanceTimersByTimeAsync(3 * IDLE_MS);
    expect(runs).toBe(4);
    expect(warn.mock.calls).toEqual([[`will try again in ${IDLE_MS} ms: Error: no`]]);
    await worker.stop();
  });
});

/** A worker whose test decides when and how each run ends. */
function scripted(settings: Partial<WorkerSettings> = {}) {
  let runs = 0;
  let atOnce = 0;
  let most = 0;
  let signal: AbortSignal | undefined;
  let run = Promise.withResolvers<Next>();
  const worker = new Worker({
    name: 'Test',
    backoff: new Backoff({ firstMs: FIRST_FAILURE_MS, longestMs: LONGEST_FAILURE_MS }),
    async runOnce(stopping) {
      runs += 1;
      atOnce += 1;
      most = Math.max(most, atOnce);
      signal = stopping;
      run = Promise.withResolvers<Next>();
      return run.promise.finally(() => (atOnce -= 1));
    },
    ...settings,
  });
  return {
    worker,
    runs: () => runs,
    most: () => most,
    signal: () => signal,
    end: async (next: Next): Promise<void> => {
      run.resolve(next);
      await flush();
    },
    fail: async (error: unknown): Promise<void> => {
      run.reject(error);
      await flush();
    },
  };
}

async function stop(worker: Worker, end: (next: Next) => Promise<void>): Promise<void> {
  const stopped = worker.stop();
  await end('again');
  await stopped;
}

/** Waits until everything that needs no time has happened. */
function flush(): Promise<void> {
  return jest.advanceTimersByTimeAsync(0);
}
