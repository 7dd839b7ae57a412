import { setTimeout as sleep } from 'node:timers/promises';
import { workAtLeisure } from '../../src/time/duty-cycle.js';

/** Runs `batches` of `batchMs` each, and returns how long all took. */
async function timed(
  batches: number,
  batchMs: number,
  share: number,
  longestRestMs = 10_000,
): Promise<number> {
  const beganAtMs = performance.now();
  let left = batches;
  await workAtLeisure({ share, longestRestMs }, async () => {
    await sleep(batchMs);
    left -= 1;
    return left > 0;
  });
  return performance.now() - beganAtMs;
}

describe('work at leisure', () => {
  it('takes no more than its share of the time, with no rest after the last batch', async () => {
    // Four batches and three rests. Timers may fire late and never early, except by a rounding.
    expect(await timed(4, 10, 0.2)).toBeGreaterThan(4 * 10 + 3 * 40 - 7);
  });

  it('does not rest without an end after a batch that took long', async () => {
    // Without the limit it would rest for almost two minutes.
    expect(await timed(2, 120, 0.001, 1)).toBeLessThan(60_000);
  });

  it('does not rest when nothing is left', async () => {
    expect(await timed(1, 1, 0.000_001, Number.MAX_SAFE_INTEGER)).toBeLessThan(60_000);
  });

  it('stops in the middle of a rest, and begins no further batch', async () => {
    const stopping = new AbortController();
    let batches = 0;
    const working = workAtLeisure(
      { share: 0.000_001, longestRestMs: 120_000 },
      async () => {
        await sleep(2);
        batches += 1;
        setTimeout(() => stopping.abort(), 5);
        return true;
      },
      stopping.signal,
    );
    await working;
    expect(batches).toBe(1);
  });
});
