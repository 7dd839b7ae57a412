import { ExponentialBackoff, noJitterGenerator, type IBackoff } from 'cockatiel';

export interface BackoffLimits {
  firstMs: number;
  /** The pauses double up to here. Equal to `firstMs` if the pause should never change. */
  longestMs: number;
}

/**
 * The pauses between tries of one thing: each is twice as long as the one before, up to a limit. There is no jitter,
 * because only one worker or one request per process waits here, so there is no crowd to spread out.
 */
export class Backoff {
  private readonly pauses: ExponentialBackoff<number>;
  private last: IBackoff<unknown> | undefined;

  constructor(limits: BackoffLimits) {
    this.pauses = new ExponentialBackoff(optionsOf(limits));
  }

  /** How long to wait now. Each call returns a longer pause, up to the limit. */
  nextMs(): number {
    this.last = this.last === undefined ? this.pauses.next() : this.last.next(undefined);
    return this.last.duration;
  }

  /** Call it after a success: the next pause is the first one again. */
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
