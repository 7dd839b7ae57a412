import { setImmediate as nextTurn } from 'node:timers/promises';
import { CommitUnknownError } from './pipelined-transactions.js';

/** Larger groups gain nothing more, and a failed group costs one retry per item. */
export const MAX_GROUP_SIZE = 256;
/**
 * About five seconds at 2 000 charges a second. It is better to refuse a request that would wait longer, so that it is
 * retried.
 */
const MAX_WAITING = 10_000;

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
}

interface GroupCommitOptions<Item> {
  /** Called with the size of each group that is committed. */
  onGroup?: (size: number) => void;
  /** Items with the same subject never share a group: one statement would change their common row only once. */
  subjectOf?: (item: Item) => string;
  /** True for an error that every item of the group would get, such as a database that is down. */
  failsForAll?: (error: unknown) => boolean;
}

/** More items are waiting than can be served in useful time. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError';
}

/**
 * Requests that arrive together commit together. While one group is in flight, arriving items queue; when it returns,
 * all waiting items form the next group. There is no timer, so a lone request never waits. One group in flight was
 * faster than several: two groups share a disk flush no better than one, and each is half as large.
 *
 * A group that fails is retried one item at a time, so that a bad item never fails its neighbours. `commit` must
 * therefore be safe to repeat for an item whose first commit may have happened.
 */
export class GroupCommit<Item, Result> {
  private waiting: Waiting<Item, Result>[] = [];
  private inFlight = false;

  /** @param commit takes a group and resolves to one result per item, in the same order */
  constructor(
    private readonly commit: (items: Item[]) => Promise<Result[]>,
    private readonly options: GroupCommitOptions<Item> = {},
  ) {}

  /** @throws OverloadedError, or what `commit` threw for this item alone. */
  submit(item: Item): Promise<Result> {
    if (this.waiting.length >= MAX_WAITING)
      return Promise.reject(new OverloadedError('too many requests wait'));
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, resolve, reject });
      if (!this.inFlight) void this.drain();
    });
  }

  private async drain(): Promise<void> {
    this.inFlight = true;
    while (this.waiting.length > 0) {
      // Requests that arrived in one network read are one turn of the event loop apart. Waiting a turn groups them.
      await nextTurn();
      const group = this.nextGroup();
      this.options.onGroup?.(group.length);
      await this.send(group);
    }
    this.inFlight = false;
  }

  private nextGroup(): Waiting<Item, Result>[] {
    const { subjectOf } = this.options;
    if (subjectOf === undefined) return this.waiting.splice(0, MAX_GROUP_SIZE);
    const subjects = new Set<string>();
    const group: Waiting<Item, Result>[] = [];
    const later: Waiting<Item, Result>[] = [];
    for (const entry of this.waiting) {
      const subject = subjectOf(entry.item);
      const fits = group.length < MAX_GROUP_SIZE && !subjects.has(subject);
      (fits ? group : later).push(entry);
      if (fits) subjects.add(subject);
    }
    this.waiting = later;
    return group;
  }

  private async send(group: Waiting<Item, Result>[]): Promise<void> {
    try {
      const results = await this.commit(group.map(({ item }) => item));
      group.forEach(({ resolve }, index) => resolve(results[index] as Result));
    } catch (error) {
      const open = error instanceof CommitUnknownError;
      if (!open && (group.length === 1 || this.failsForAll(error)))
        group.forEach(({ reject }) => reject(error));
      else await this.retryOneByOne(group, error);
    }
  }

  /**
   * If we do not know whether the group committed, this finds out too: `commit` finds what has happened, and does the
   * rest.
   */
  private async retryOneByOne(group: Waiting<Item, Result>[], groupError: unknown): Promise<void> {
    let fatal: unknown;
    for (const { item, resolve, reject } of group) {
      if (fatal !== undefined) {
        reject(fatal);
        continue;
      }
      try {
        const [result] = await this.commit([item]);
        resolve(result as Result);
      } catch (error) {
        // As long as we do not know whether the group committed, "the database is down" must not be reported as
        // "nothing happened".
        const told = groupError instanceof CommitUnknownError ? groupError : error;
        if (this.failsForAll(error)) fatal = told;
        reject(told);
      }
    }
  }

  private failsForAll(error: unknown): boolean {
    return this.options.failsForAll?.(error) === true;
  }
}
