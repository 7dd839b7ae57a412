import { setImmediate as nextTurn } from 'node:timers/promises';
import { isLockTimeout, OverloadedError } from './database-errors.js';
import { CommitUnknownError } from './pipelined-transactions.js';
import { GROUP_LOCK_TIMEOUT_MS, PART_LOCK_TIMEOUT_MS, type SideLane } from './side-lane.js';

/** Larger groups gain nothing more, and take longer to divide when they fail. */
export const MAX_GROUP_SIZE = 256;
/**
 * About five seconds at 2 000 charges a second. It is better to refuse a request that would wait longer, so that it is
 * retried.
 */
const MAX_WAITING = 10_000;
/** A group that failed is divided into so many parts, and those that fail again, until the bad items are alone. */
const PARTS = 4;

interface Waiting<Item, Result> {
  item: Item;
  resolve: (result: Result) => void;
  reject: (error: unknown) => void;
  /** Set once a commit of this item may have happened. From then on, no other error may say that nothing did. */
  open?: CommitUnknownError;
}

/** Why a part of a group could not be committed. */
interface Failure<Item, Result> {
  part: Waiting<Item, Result>[];
  error: unknown;
  /** True if the commit may have happened, so that even a lone item is tried again. */
  repeats: boolean;
}

interface GroupCommitOptions<Item> {
  /** Called with the size of each group that is committed. */
  onGroup?: (size: number) => void;
  /** Items with the same subject never share a group: one statement would change their common row only once. */
  subjectOf?: (item: Item) => string;
  /** True for an error that every item of the group would get, such as a database that is down. */
  failsForAll?: (error: unknown) => boolean;
  /** Where items wait that meet a locked row. Without it, `commit` gets no lock timeout. */
  sideLane?: SideLane;
}

/**
 * Requests that arrive together commit together. While one group is in flight, arriving items queue; when it returns,
 * all waiting items form the next group. There is no timer, so a lone request never waits. One group in flight was
 * faster than several: two groups share a disk flush no better than one, and each is half as large.
 *
 * A group that fails is divided until the bad items are alone, so that a bad item never fails its neighbours. `commit`
 * must therefore be safe to repeat for an item whose first commit may have happened. An item that alone waits for a
 * locked row goes to the side lane, as do later items with its subject, and the next group does not wait for them.
 */
export class GroupCommit<Item, Result> {
  private waiting: Waiting<Item, Result>[] = [];
  private inFlight = false;

  /**
   * @param commit takes a group and resolves to one result per item, in the same order. It must not wait longer for
   * any lock than it is told. It runs for several parts of a failed group at a time, and beside the side lane, but
   * never for two items with one subject.
   */
  constructor(
    private readonly commit: (items: Item[], lockTimeoutMs?: number) => Promise<Result[]>,
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
      if (group.length === 0) continue;
      this.options.onGroup?.(group.length);
      await this.send(group);
    }
    this.inFlight = false;
  }

  private nextGroup(): Waiting<Item, Result>[] {
    const { subjectOf, sideLane } = this.options;
    if (subjectOf === undefined) return this.waiting.splice(0, MAX_GROUP_SIZE);
    const subjects = new Set<string>();
    const group: Waiting<Item, Result>[] = [];
    const later: Waiting<Item, Result>[] = [];
    for (const entry of this.waiting) {
      const subject = subjectOf(entry.item);
      if (sideLane?.holds(subject) === true) {
        this.moveAside(entry, sideLane);
        continue;
      }
      const fits = group.length < MAX_GROUP_SIZE && !subjects.has(subject);
      (fits ? group : later).push(entry);
      if (fits) subjects.add(subject);
    }
    this.waiting = later;
    return group;
  }

  /** Commits the group, and divides what fails until each item has its answer or waits in the side lane. */
  private async send(group: Waiting<Item, Result>[]): Promise<void> {
    const { sideLane } = this.options;
    let parts = [group];
    let lockTimeoutMs = sideLane && GROUP_LOCK_TIMEOUT_MS;
    while (parts.length > 0) {
      const now = parts.splice(0, sideLane === undefined ? 1 : PARTS);
      const tries = await Promise.all(now.map((part) => this.try(part, lockTimeoutMs)));
      const failures = tries.filter((failure) => failure !== null);
      const fatal = failures.find((failure) => this.isFatal(failure));
      if (fatal === undefined) parts.push(...failures.flatMap((failure) => this.divide(failure)));
      else {
        rejectAll([...failures.flatMap(({ part }) => part), ...parts.flat()], fatal.error);
        parts = [];
      }
      lockTimeoutMs = sideLane && PART_LOCK_TIMEOUT_MS;
    }
  }

  /** @returns null if the part is committed and answered. */
  private async try(
    part: Waiting<Item, Result>[],
    lockTimeoutMs: number | undefined,
  ): Promise<Failure<Item, Result> | null> {
    try {
      const items = part.map(({ item }) => item);
      const results = await this.commit(items, lockTimeoutMs);
      part.forEach(({ resolve }, index) => resolve(results[index] as Result));
      return null;
    } catch (error) {
      return { part, error, repeats: opens(part, error) };
    }
  }

  private isFatal({ error, repeats }: Failure<Item, Result>): boolean {
    return !repeats && this.options.failsForAll?.(error) === true;
  }

  /** @returns the parts to try next: none if the item was alone, and is answered or moved aside. */
  private divide({ part, error, repeats }: Failure<Item, Result>): Waiting<Item, Result>[][] {
    const { sideLane } = this.options;
    const [first, ...others] = part;
    if (first !== undefined && others.length === 0 && !repeats) {
      if (sideLane !== undefined && isLockTimeout(error)) this.moveAside(first, sideLane);
      else rejectAll(part, error);
      return [];
    }
    const size = Math.ceil(part.length / PARTS);
    const starts = Array.from({ length: Math.ceil(part.length / size) }, (_, index) => index * size);
    return starts.map((start) => part.slice(start, start + size));
  }

  private moveAside(entry: Waiting<Item, Result>, sideLane: SideLane): void {
    const subject = this.options.subjectOf?.(entry.item) ?? entry;
    sideLane
      .wait(subject, entry, this.commitAside)
      .then(entry.resolve, (error: unknown) => rejectAll([entry], error));
  }

  private readonly commitAside = async (
    entries: Waiting<Item, Result>[],
    lockTimeoutMs: number,
  ): Promise<Result[]> => {
    const items = entries.map(({ item }) => item);
    try {
      return await this.commit(items, lockTimeoutMs);
    } catch (error) {
      if (opens(entries, error)) return this.commit(items, lockTimeoutMs);
      throw error;
    }
  };
}

/**
 * Whether a commit of these items is open for the first time. Then it is repeated, and so reads back: it finds what
 * happened and does what did not.
 */
function opens(part: readonly { open?: CommitUnknownError }[], error: unknown): boolean {
  if (!(error instanceof CommitUnknownError) || part.every(({ open }) => open !== undefined)) return false;
  for (const entry of part) entry.open = error;
  return true;
}

/** While an item's commit is open, "the database is down" must not be reported as "nothing happened". */
function rejectAll(
  entries: readonly Pick<Waiting<unknown, unknown>, 'open' | 'reject'>[],
  error: unknown,
): void {
  for (const { open, reject } of entries) reject(open ?? error);
}
