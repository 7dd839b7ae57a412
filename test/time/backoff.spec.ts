import { Backoff, backoffMs } from '../../src/time/backoff.js';

const LIMITS = { firstMs: 100, longestMs: 1_000 };

describe('a backoff', () => {
  it('doubles its pauses up to the limit, and stays there', () => {
    const backoff = new Backoff(LIMITS);
    const pauses = Array.from({ length: 2_000 }, () => backoff.nextMs());
    expect(pauses.slice(0, 6)).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    expect(new Set(pauses.slice(4))).toEqual(new Set([1_000]));
  });

  it('starts with the first pause again after a reset', () => {
    const backoff = new Backoff(LIMITS);
    backoff.nextMs();
    backoff.nextMs();
    backoff.reset();
    expect([backoff.nextMs(), backoff.nextMs()]).toEqual([100, 200]);
  });

  it('never changes its pause if the first is also the longest', () => {
    const backoff = new Backoff({ firstMs: 700, longestMs: 700 });
    expect([backoff.nextMs(), backoff.nextMs(), backoff.nextMs()]).toEqual([700, 700, 700]);
  });

  it('gives the same pauses by number of tries', () => {
    const backoff = new Backoff(LIMITS);
    for (let tries = 1; tries <= 8; tries += 1) expect(backoffMs(tries, LIMITS)).toBe(backoff.nextMs());
  });
});
