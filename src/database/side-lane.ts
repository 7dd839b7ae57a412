import { STATEMENT_TIMEOUT_MS } from './data-source.js';
import { isLockTimeout, OverloadedError } from './database-errors.js';

/**
 * How long a group waits for a lock. Usually the wait is for another transaction's commit, which takes milliseconds.
 * Whoever holds a row for longer must not hold up what only shares a group with it.
 */
export const GROUP_LOCK_TIMEOUT_MS = 50;
/** A turn of the side lane. What waits there for rows that are free again is not behind the others for long. */
const TURN_MS = 100;
/** What waits here for a locked row gives up when it would have given up in PostgreSQL. */
const PATIENCE_MS = STATEMENT_TIMEOUT_MS;
/** What two connections can commit one by one within the patience, if all rows are free again. */
const MAX_STUCK = 2_000;
/** One connection in so many may wait in the side lane, so that the others are there for everybody else. */
const CONNECTIONS_PER_TURN = 4;

/** One piece of work that waits for a lock. */
interface Stuck {
  /** Resolves to what gives its caller the result or the error, or to null if it still waits for a lock. */
  try: () => Promise<(() => void) | null>;
  /** Tells its caller that it has waited for too long. */
  giveUp: () => void;
  giveUpAtMs: number;
}

/**
 * Where work waits that needs a locked row, so that nothing else waits with it. It has few connections of the pool,
 * and takes turns on them: a try waits for a lock for one turn at most, and the next waiter follows. So a hundred
 * locked rows hold no more connections than one, and a row that is free again is soon found to be.
 *
 * What has the same subject waits in one line and is tried in the order of arrival, one at a time: it waits for the
 * same row.
 */
export class SideLane {
  private readonly lines = new Map<unknown, Stuck[]>();
  /** The subjects that wait for their turn. */
  private readonly turns: unknown[] = [];
  private readonly connections: number;
  private busy = 0;
  private stuck = 0;

  /** @param poolSize the connections that the lane has its share of */
  constructor(
    poolSize: number,
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {
    this.connections = Math.max(1, Math.floor(poolSize / CONNECTIONS_PER_TURN));
  }

  /** Whether work on this subject waits here. More of it should wait behind. */
  holds(subject: unknown): boolean {
    return this.lines.has(subject);
  }

  /**
   * Repeats `attempt` until it no longer fails because of a lock, or has done so for too long.
   * @param attempt a transaction that waits no longer than this for each lock
   * @throws OverloadedError if too much waits already, or it had no turn; otherwise what `attempt` threw last
   */
  wait<T>(subject: unknown, attempt: (lockTimeoutMs: number) => Promise<T>): Promise<T> {
    if (this.stuck >= MAX_STUCK) return Promise.reject(new OverloadedError('too many wait for locked rows'));
    return new Promise((resolve, reject) => {
      let reason: unknown = new OverloadedError('no turn came while it waited for a locked row');
      this.join(subject, {
        giveUpAtMs: this.monotonicMs() + PATIENCE_MS,
        giveUp: () => reject(reason),
        try: async () => {
          try {
            const result = await attempt(TURN_MS);
            return () => resolve(result);
          } catch (error) {
            reason = error;
            return isLockTimeout(error) ? null : () => reject(error);
          }
        },
      });
    });
  }

  /** Runs what is in no group: beside the lane, and in the lane if it meets a lock. */
  async run<T>(subject: unknown, attempt: (lockTimeoutMs: number) => Promise<T>): Promise<T> {
    if (!this.holds(subject)) {
      try {
        return await attempt(GROUP_LOCK_TIMEOUT_MS);
      } catch (error) {
        if (!isLockTimeout(error)) throw error;
      }
    }
    return this.wait(subject, attempt);
  }

  private join(subject: unknown, stuck: Stuck): void {
    this.stuck += 1;
    const line = this.lines.get(subject);
    if (line !== undefined) line.push(stuck);
    else {
      this.lines.set(subject, [stuck]);
      this.turns.push(subject);
      this.fill();
    }
  }

  private fill(): void {
    while (this.busy < this.connections && this.turns.length > 0) void this.turn(this.turns.shift());
  }

  /** The lane is in order before the caller goes on, who may send more work on this subject at once. */
  private async turn(subject: unknown): Promise<void> {
    this.busy += 1;
    const line = this.lines.get(subject) ?? [];
    const [first] = line;
    const answer = first === undefined ? null : await this.endOf(first);
    this.busy -= 1;
    if (answer !== null) {
      line.shift();
      this.stuck -= 1;
    }
    if (line.length > 0) this.turns.push(subject);
    else this.lines.delete(subject);
    answer?.();
    this.fill();
  }

  private async endOf({ giveUpAtMs, giveUp, try: attempt }: Stuck): Promise<(() => void) | null> {
    return this.monotonicMs() >= giveUpAtMs ? giveUp : attempt();
  }
}
