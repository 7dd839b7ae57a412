import { jest } from '@jest/globals';
import { askInTime, type Deadline, type Ended } from '../../src/time/deadline.js';

const LIMIT_MS = 1_000;
const GRACE_MS = 200;
const DEADLINE: Deadline = { limitMs: LIMIT_MS, graceMs: GRACE_MS };

describe('a question with a deadline', () => {
  beforeEach(() => jest.useFakeTimers());
  afterEach(() => {
    if (jest.getTimerCount() > 0) throw new Error('a timer is left');
    jest.useRealTimers();
  });

  it('returns the answer, and leaves no timer', async () => {
    expect(await askInTime(() => Promise.resolve(7), DEADLINE)).toEqual({ kind: 'answered', answer: 7 });
  });

  it('returns what was thrown, even synchronously', async () => {
    const error = new Error('no');
    expect(await askInTime(() => Promise.reject(error), DEADLINE)).toEqual({ kind: 'threw', error });
    const throwing = (): Promise<never> => {
      throw error;
    };
    expect(await askInTime(throwing, DEADLINE)).toEqual({ kind: 'threw', error });
  });

  it('aborts the question at its limit, and not before', async () => {
    const question = new Question(DEADLINE);
    await jest.advanceTimersByTimeAsync(LIMIT_MS - 1);
    expect(question.signal.aborted).toBe(false);
    await jest.advanceTimersByTimeAsync(1);
    expect(question.signal.aborted).toBe(true);
    question.answer(1);
    await question.ended;
  });

  it('returns an answer that comes within the grace', async () => {
    const question = new Question(DEADLINE);
    await jest.advanceTimersByTimeAsync(LIMIT_MS + GRACE_MS - 1);
    question.answer(7);
    expect(await question.ended).toEqual({ kind: 'answered', answer: 7 });
  });

  it('stops listening after the grace, and ignores a late answer', async () => {
    const question = new Question(DEADLINE);
    await jest.advanceTimersByTimeAsync(LIMIT_MS + GRACE_MS - 1);
    expect(question.isOpen).toBe(true);
    await jest.advanceTimersByTimeAsync(1);
    expect(question.isOpen).toBe(false);
    question.answer(7);
    expect(await question.ended).toEqual({ kind: 'late' });
  });

  it('ignores a late error, which is not an unhandled rejection', async () => {
    const unhandled = jest.fn();
    process.on('unhandledRejection', unhandled);
    const question = new Question(DEADLINE);
    await jest.advanceTimersByTimeAsync(LIMIT_MS + GRACE_MS);
    question.fail(new Error('too late'));
    expect(await question.ended).toEqual({ kind: 'late' });
    jest.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    jest.useFakeTimers();
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  it('has no grace by default', async () => {
    const question = new Question({ limitMs: LIMIT_MS });
    await jest.advanceTimersByTimeAsync(LIMIT_MS + 1);
    expect(await question.ended).toEqual({ kind: 'late' });
  });

  it('ends with the outer deadline if that comes first', async () => {
    const outer = new AbortController();
    const question = new Question({ ...DEADLINE, signal: outer.signal });
    await jest.advanceTimersByTimeAsync(10);
    outer.abort();
    expect(question.signal.aborted).toBe(true);
    await jest.advanceTimersByTimeAsync(GRACE_MS - 1);
    expect(question.isOpen).toBe(true);
    await jest.advanceTimersByTimeAsync(1);
    expect(await question.ended).toEqual({ kind: 'late' });
  });

  it('does not extend the grace when the outer deadline comes within it', async () => {
    const outer = new AbortController();
    const question = new Question({ ...DEADLINE, signal: outer.signal });
    await jest.advanceTimersByTimeAsync(LIMIT_MS + GRACE_MS / 2);
    outer.abort();
    await jest.advanceTimersByTimeAsync(GRACE_MS / 2);
    expect(await question.ended).toEqual({ kind: 'late' });
  });

  it('is aborted from the start if the outer deadline has already passed', async () => {
    const question = new Question({ ...DEADLINE, signal: AbortSignal.abort() });
    expect(question.signal.aborted).toBe(true);
    await jest.advanceTimersByTimeAsync(GRACE_MS);
    expect(await question.ended).toEqual({ kind: 'late' });
  });

  it('does not abort an answered question when the outer deadline comes later', async () => {
    const outer = new AbortController();
    const question = new Question({ ...DEADLINE, signal: outer.signal });
    question.answer(7);
    await question.ended;
    outer.abort();
    expect(question.signal.aborted).toBe(false);
  });
});

/** A question that the test answers. */
class Question {
  readonly ended: Promise<Ended<number>>;
  isOpen = true;
  readonly answer: (answer: number) => void;
  readonly fail: (error: Error) => void;
  private askedWith: AbortSignal | undefined;

  constructor(deadline: Deadline) {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.answer = resolve;
    this.fail = reject;
    const ask = (signal: AbortSignal) => {
      this.askedWith = signal;
      return promise;
    };
    this.ended = askInTime(ask, deadline).finally(() => (this.isOpen = false));
  }

  get signal(): AbortSignal {
    if (this.askedWith === undefined) throw new Error('the question has not been asked yet');
    return this.askedWith;
  }
}
