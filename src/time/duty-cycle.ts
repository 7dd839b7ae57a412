import { setTimeout as sleep } from 'node:timers/promises';

/** How much of the time something works that has no hurry. */
export interface DutyCycle {
  /** From 0 to 1. After each batch it rests until the batch was this share of the time. */
  share: number;
  /** A batch that took long, because it waited for a lock or a slow disk, is followed by no longer rest than this. */
  longestRestMs: number;
}

/**
 * Works in batches and rests after each, in proportion to how long it took. So the slower a busy machine makes the
 * batches, the more it leaves to others; a fixed pause would not notice.
 * @param batch returns whether there may be more to do
 * @param stopping ends the rest, and no further batch begins
 */
export async function workAtLeisure(
  { share, longestRestMs }: DutyCycle,
  batch: () => Promise<boolean>,
  stopping?: AbortSignal,
): Promise<void> {
  for (;;) {
    if (stopping?.aborted === true) return;
    const beganAtMs = performance.now();
    if (!(await batch())) return;
    const tookMs = performance.now() - beganAtMs;
    await rest(Math.min(tookMs * (1 / share - 1), longestRestMs), stopping);
  }
}

async function rest(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch {
    // Aborted: the caller sees it too.
  }
}
