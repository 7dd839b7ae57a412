import { STATEMENT_TIMEOUT_MS } from './data-source.js';
import { isLockTimeout, OverloadedError } from './database-errors.js';

/**
 * How long a group waits for a lock. Usually the wait is for another transaction's commit, which takes milliseconds.
 * Whoever holds a row for longer must not hold up what only shares a group with it.
 */
export const GROUP_LOCK_TIMEOUT_MS = 50;
/** What is divided has waited already. Without a locked row it waits for nothing, and a busy row has another turn. */
export const PART_LOCK_TIMEOUT_MS = 10;
/** A turn of the side lane. What waits there for rows that are free again is not behind the others for long. */
const TURN_MS = 100;
/** What waits here for a locked row gives up when it would have given up in PostgreSQL. */
const PATIENCE_MS = STATEMENT_TIMEOUT_MS;
/** What two connections can commit one by one within the patience, if all rows are free again. */
const MAX_STUCK = 2_000;
const MAX_TOGETHER = 64;
/** One connection in so many may wait in the side lane, so that the others are there for everybody else. */
const CONNECTIONS_PER_TURN = 4;

/** Commits items in one transaction that waits no longer than this for each lock, and resolves to a result for each. */
type Commit<Item, Result> = (items: Item[], lockTimeoutMs: number) => Promise<Result[]>;

/** An item that waits for a lock. */
interface Stuck<Item, Result> {
  readonly commit: Commit<Item, Result>;
  readonly item: Item;
  readonly subject: unknown;
  readonly giveUpAtMs: number;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
  /** What to say if it gives up. */
  reason: Error;
}

type AnyStuck = Stuck<unknown, unknown>;

/**
 * Where work waits that needs a locked row, so that nothing else waits with it. It has few connections of the pool,
 * and takes turns on them: a try waits for a lock for one turn at most, and the next waiter follows. So a hundred
 * locked rows hold no more connections than one, and a row that is free again is soon found to be.
 *
 * What has the same subject waits in one line and is tried in the order of arrival, one at a time: it waits for the
 * same row. After a success, twice as many lines are tried together, and after a failure one alone: when a lock on a
 * whole table is gone, hundreds wait here that would take seconds one by one.
 */
export class SideLane {
  private readonly lines = new Map<unknown, AnyStuck[]>();
  /** The subjects that wait for their turn. */
  private turns: unknown[] = [];
  private readonly connections: number;
  private busy = 0;
  private stuck = 0;
  private together = 1;

  /** @param poolSize the connections that the lane has its share of */
  constructor(
    poolSize: number,
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {
    this.connections = Math.max(1, Math.floor(poolSize / CONNECTIONS_PER_TURN));
  }

  /** How many items wait. */
  get size(): number {
    return this.stuck;
  }

  /** Whether work on this subject waits here. More of it should wait behind. */
  holds(subject: unknown): boolean {
    return this.lines.has(subject);
  }

  /**
   * Repeats the commit until it no longer fails because of a lock, or has done so for too long.
   * @param commit may get several items for which the same function was passed, each with a subject of its own. If it
   * fails for several, each is tried again.
   * @throws OverloadedError if too much waits already, or the item had no turn; otherwise what `commit` threw last
   */
  wait<Item, Result>(subject: unknown, item: Item, commit: Commit<Item, Result>): Promise<Result> {
    if (this.stuck >= MAX_STUCK) return Promise.reject(new OverloadedError('too many wait for locked rows'));
    return new Promise((resolve, reject) => {
      const giveUpAtMs = this.monotonicMs() + PATIENCE_MS;
      const reason = new OverloadedError('no turn came while it waited for a locked row');
      const stuck: Stuck<Item, Result> = { commit, item, subject, giveUpAtMs, resolve, reject, reason };
      this.join(stuck as unknown as AnyStuck);
    });
  }

  /** Runs what is in no group: beside the lane, and in the lane if it meets a lock. */
  async run<Result>(subject: unknown, attempt: (lockTimeoutMs: number) => Promise<Result>): Promise<Result> {
    if (!this.holds(subject)) {
      try {
        return await attempt(GROUP_LOCK_TIMEOUT_MS);
      } catch (error) {
        if (!isLockTimeout(error)) throw error;
      }
    }
    return this.wait(subject, null, async (_, lockTimeoutMs) => [await attempt(lockTimeoutMs)]);
  }

  private join(stuck: AnyStuck): void {
    this.stuck += 1;
    const line = this.lines.get(stuck.subject);
    if (line !== undefined) line.push(stuck);
    else {
      this.lines.set(stuck.subject, [stuck]);
      this.turns.push(stuck.subject);
      this.fill();
    }
  }

  private fill(): void {
    while (this.busy < this.connections) {
      const [first] = this.lines.get(this.turns.shift()) ?? [];
      if (first === undefined) return;
      if (this.monotonicMs() < first.giveUpAtMs) void this.turn([first, ...this.companions(first)]);
      else {
        this.leave(first);
        first.reject(first.reason);
      }
    }
  }

  /** Takes the first of other lines, in the order of their turns. */
  private companions({ commit }: AnyStuck): AnyStuck[] {
    const taken: AnyStuck[] = [];
    if (this.together === 1) return taken;
    this.turns = this.turns.filter((subject) => {
      const first = this.lines.get(subject)?.[0];
      const joins = first?.commit === commit && taken.length < this.together - 1;
      if (joins) taken.push(first);
      return !joins;
    });
    return taken;
  }

  /** The lane is in order before a caller goes on, who may send more work on the same subject at once. */
  private async turn(tried: readonly [AnyStuck, ...AnyStuck[]]): Promise<void> {
    this.busy += 1;
    const [{ commit }] = tried;
    const items = tried.map(({ item }) => item);
    let answer: ((stuck: AnyStuck, index: number) => void) | null = null;
    try {
      const results = await commit(items, tried.length > 1 ? PART_LOCK_TIMEOUT_MS : TURN_MS);
      answer = ({ resolve }, index) => resolve(results[index]);
      this.together = Math.min(2 * this.together, MAX_TOGETHER);
    } catch (error) {
      this.together = 1;
      if (isLockTimeout(error)) for (const stuck of tried) stuck.reason = error as Error;
      else if (tried.length === 1) answer = ({ reject }) => reject(error);
    }
    this.busy -= 1;
    for (const stuck of tried) {
      if (answer === null) this.turns.push(stuck.subject);
      else this.leave(stuck);
    }
    if (answer !== null) tried.forEach(answer);
    this.fill();
  }

  /** The next of the same line gets its turn. */
  private leave({ subject }: AnyStuck): void {
    this.stuck -= 1;
    const line = this.lines.get(subject) ?? [];
    line.shift();
    if (line.length > 0) this.turns.push(subject);
    else this.lines.delete(subject);
  }
}
