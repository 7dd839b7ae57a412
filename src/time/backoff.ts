import { ExponentialBackoff, noJitterGenerator, type IBackoff } from 'cockatiel';

export interface BackoffLimits {
  firstMs: number;
  /** The pauses double up to here. The same as the first for pauses that never change. */
  longestMs: number;
}

/**
 * The pauses between tries of one thing: each twice as long as the one before, up to a limit. Without jitter: what waits
 * here is one worker or one request a process, so there is no crowd to spread.
 */
export class Backoff {
  private readonly pauses: ExponentialBackoff<number>;
  private last: IBackoff<unknown> | undefined;

  constructor(limits: BackoffLimits) {
    this.pauses = new ExponentialBackoff(optionsOf(limits));
  }

  /** How long to wait now; the next answer is longer. */
  nextMs(): number {
    this.last = this.last === undefined ? this.pauses.next() : this.last.next(undefined);
    return this.last.duration;
  }

  /** It worked: the next pause is the first one again. */
  reset(): void {
    this.last = undefined;
  }
}

/**
 * The pause after so many failed tries, for a count that is stored rather than kept in memory.
 * @param tries from 1.
 */
export function backoffMs(tries: number, limits: BackoffLimits): number {
  const [pauseMs] = noJitterGenerator(tries - 1, optionsOf(limits));
  return pauseMs;
}

function optionsOf({ firstMs, longestMs }: BackoffLimits) {
  return { generator: noJitterGenerator, initialDelay: firstMs, maxDelay: longestMs, exponent: 2 };
}
