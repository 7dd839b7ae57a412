import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { OverloadedError } from '../../src/database/database-errors.js';
import { GroupCommit } from '../../src/database/group-commit.js';
import { CommitUnknownError } from '../../src/database/pipelined-transactions.js';
import { SideLane } from '../../src/database/side-lane.js';

/** What PostgreSQL says when `lock_timeout` ends a wait, as a transaction passes it on. */
function lockTimeout(): Error {
  const cause = Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' });
  return new Error('the transaction was rolled back', { cause });
}

class Poisoned extends Error {}
class Down extends Error {}

interface Item {
  id: number;
  subject: string;
  poisoned: boolean;
}

/** A table with one row a subject, some of which somebody else has locked. It watches what is done to it. */
class FakeTable {
  readonly locked = new Set<string>();
  readonly committed: number[] = [];
  mostAtOnce = 0;
  private readonly inFlight = new Map<string, number>();
  private transactions = 0;

  readonly commit = async (items: Item[], lockTimeoutMs?: number): Promise<string[]> => {
    if (lockTimeoutMs === undefined) throw new Error('it would wait for ever');
    this.mostAtOnce = Math.max(this.mostAtOnce, (this.transactions += 1));
    for (const { subject } of items) {
      if (this.inFlight.has(subject)) throw new Error(`${subject} twice at once`);
      this.inFlight.set(subject, 1);
    }
    await nextTurn();
    for (const { subject } of items) this.inFlight.delete(subject);
    this.transactions -= 1;
    if (items.some(({ subject }) => this.locked.has(subject))) throw lockTimeout();
    if (items.some(({ poisoned }) => poisoned)) throw new Poisoned();
    this.committed.push(...items.map(({ id }) => id));
    return items.map(({ id }) => `result of ${id}`);
  };
}

const subjects = fc.integer({ min: 0, max: 60 }).map((row) => `row ${row}`);
const bursts = fc
  .array(
    fc.array(fc.record({ subject: subjects, poisoned: fc.boolean() }), { minLength: 1, maxLength: 60 }),
    { minLength: 1, maxLength: 6 },
  )
  .map((arriving) => {
    let id = 0;
    return arriving.map((burst) => burst.map((item): Item => ({ ...item, id: (id += 1) })));
  });

/** The poolSize that gives the lane one connection. */
const ONE_CONNECTION = 4;

describe('groups beside a side lane', () => {
  it('commit all that needs no locked row while it is locked, and the rest afterwards, once and in order', async () => {
    await fc.assert(
      fc.asyncProperty(bursts, fc.uniqueArray(subjects, { maxLength: 8 }), async (arriving, locked) => {
        const table = new FakeTable();
        for (const subject of locked) table.locked.add(subject);
        const group = new GroupCommit<Item, string>(table.commit, {
          subjectOf: ({ subject }) => subject,
          sideLane: new SideLane(2 * ONE_CONNECTION, () => 0),
        });
        const outcomes = new Map<number, unknown>();
        const answers: Promise<unknown>[] = [];
        const free: Promise<unknown>[] = [];
        for (const burst of arriving) {
          for (const item of burst) {
            const answer = group.submit(item).then(
              (value) => outcomes.set(item.id, value),
              (error: unknown) => outcomes.set(item.id, error),
            );
            answers.push(answer);
            if (!table.locked.has(item.subject)) free.push(answer);
          }
          await nextTurn();
        }
        await Promise.all(free);
        const all = arriving.flat();
        expect(outcomes.size).toBe(all.filter(({ subject }) => !table.locked.has(subject)).length);
        table.locked.clear();
        await Promise.all(answers);
        for (const { id, poisoned } of all)
          expect(outcomes.get(id)).toEqual(poisoned ? new Poisoned() : `result of ${id}`);
        const good = all.filter(({ poisoned }) => !poisoned);
        expect(table.committed.toSorted((a, b) => a - b)).toEqual(good.map(({ id }) => id));
        for (const ofOne of Map.groupBy(good, ({ subject }) => subject).values()) {
          const ids = new Set(ofOne.map(({ id }) => id));
          expect(table.committed.filter((id) => ids.has(id))).toEqual([...ids]);
        }
        // Four parts of a group, and two in the lane.
        expect(table.mostAtOnce).toBeLessThanOrEqual(6);
      }),
      { numRuns: 100 },
    );
  });

  it('pay for a locked row once: what needs it later goes aside at once', async () => {
    const table = new FakeTable();
    table.locked.add('row 1');
    const sizes: number[] = [];
    const group = new GroupCommit<Item, string>(table.commit, {
      subjectOf: ({ subject }) => subject,
      sideLane: new SideLane(ONE_CONNECTION, () => 0),
      onGroup: (size) => sizes.push(size),
    });
    const stuck = [group.submit({ id: 1, subject: 'row 1', poisoned: false })];
    while (sizes.length === 0) await nextTurn();
    await group.submit({ id: 2, subject: 'row 2', poisoned: false });
    stuck.push(group.submit({ id: 3, subject: 'row 1', poisoned: false }));
    await group.submit({ id: 4, subject: 'row 2', poisoned: false });
    expect(sizes).toEqual([1, 1, 1]);
    table.locked.clear();
    expect(await Promise.all(stuck)).toEqual(['result of 1', 'result of 3']);
    expect(table.committed).toEqual([2, 4, 1, 3]);
    await group.submit({ id: 5, subject: 'row 1', poisoned: false });
    expect(sizes).toEqual([1, 1, 1, 1]);
  });

  it('stop at once when the database goes down while one is being divided', async () => {
    let commits = 0;
    const group = new GroupCommit<number, number>(
      async () => {
        await nextTurn();
        commits += 1;
        throw commits === 1 ? lockTimeout() : new Down();
      },
      { failsForAll: (error) => error instanceof Down, sideLane: new SideLane(ONE_CONNECTION) },
    );
    const outcomes = await Promise.allSettled(Array.from({ length: 100 }, (_, index) => group.submit(index)));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: expect.any(Down) });
    expect(commits).toBe(5);
  });

  it('never say that nothing happened once a commit may have happened, even after waiting for a lock', async () => {
    let nowMs = 0;
    const errors = [lockTimeout(), new CommitUnknownError('lost'), lockTimeout()];
    const group = new GroupCommit<number, number>(
      async () => {
        await nextTurn();
        nowMs += 1_000;
        throw errors.shift() ?? lockTimeout();
      },
      { sideLane: new SideLane(ONE_CONNECTION, () => nowMs) },
    );
    await expect(group.submit(1)).rejects.toEqual(new CommitUnknownError('lost'));
    expect(errors).toEqual([]);
  });
});

describe('the side lane', () => {
  /** Waits with a commit of its own, so that nothing else is tried together with it. */
  const alone = <Result>(lane: SideLane, subject: unknown, attempt: () => Promise<Result>): Promise<Result> =>
    lane.wait(subject, null, async () => [await attempt()]);

  it('gives turns to all that wait, and lets no more in than its share of the pool', async () => {
    for (const [poolSize, share] of [
      [3, 1],
      [10, 2],
      [20, 5],
    ] as const) {
      const lane = new SideLane(poolSize, () => 0);
      let inside = 0;
      let most = 0;
      const tries = new Map<number, number>();
      const waiting = Array.from({ length: 12 }, (_, subject) =>
        alone(lane, subject, async () => {
          most = Math.max(most, (inside += 1));
          await nextTurn();
          inside -= 1;
          tries.set(subject, (tries.get(subject) ?? 0) + 1);
          if (tries.get(subject) === 3) return subject;
          // Nobody is a round ahead of the others.
          expect(Math.max(...tries.values()) - Math.min(...tries.values())).toBeLessThanOrEqual(1);
          throw lockTimeout();
        }),
      );
      expect(await Promise.all(waiting)).toEqual(Array.from({ length: 12 }, (_, subject) => subject));
      expect(most).toBe(share);
    }
  });

  it('gives up after as long as a statement may take, with what stopped it, or without a turn', async () => {
    let nowMs = 0;
    const lane = new SideLane(ONE_CONNECTION, () => nowMs);
    const first = alone(lane, 'row', async () => {
      await nextTurn();
      nowMs += 100;
      throw lockTimeout();
    });
    const behind = alone(lane, 'row', () => Promise.resolve('never tried'));
    await expect(first).rejects.toEqual(lockTimeout());
    await expect(behind).rejects.toEqual(expect.any(OverloadedError));
    expect(nowMs).toBe(5_000);
    expect(lane.holds('row')).toBe(false);
  });

  it('passes any other error on at once, and takes in no more than it can serve', async () => {
    const lane = new SideLane(ONE_CONNECTION, () => 0);
    await expect(alone(lane, 'row', () => Promise.reject(new Poisoned()))).rejects.toEqual(new Poisoned());
    const free = Promise.withResolvers<void>();
    const all = Array.from({ length: 2_000 }, (_, subject) => alone(lane, subject, () => free.promise));
    await expect(alone(lane, 'one more', () => free.promise)).rejects.toEqual(expect.any(OverloadedError));
    free.resolve();
    await Promise.all(all);
    await alone(lane, 'one more', () => free.promise);
  });

  it('commits more and more together once the rows are free, and each alone after a failure', async () => {
    const lane = new SideLane(ONE_CONNECTION, () => 0);
    const sizes: number[] = [];
    let isLocked = true;
    const commit = async (items: number[]) => {
      await nextTurn();
      if (isLocked) throw lockTimeout();
      sizes.push(items.length);
      if (items.includes(10)) throw new Poisoned();
      return items;
    };
    const waiting = Array.from({ length: 40 }, (_, item) => lane.wait(item, item, commit));
    const ended = Promise.allSettled(waiting);
    for (let turn = 0; turn < 40; turn += 1) await nextTurn();
    isLocked = false;
    const outcomes = await ended;
    expect(
      outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason)),
    ).toEqual(waiting.map((_, item) => (item === 10 ? new Poisoned() : item)));
    expect(sizes.length).toBeLessThan(20);
    expect(Math.max(...sizes)).toBeGreaterThan(8);
    expect(lane.size).toBe(0);
  });

  it('is entered by what is in no group only if it meets a lock', async () => {
    const lane = new SideLane(ONE_CONNECTION, () => 0);
    expect(await lane.run('row', (lockTimeoutMs) => Promise.resolve(lockTimeoutMs))).toBe(50);
    let tries = 0;
    const waits = lane.run('row', (lockTimeoutMs) => {
      tries += 1;
      return tries === 1 ? Promise.reject(lockTimeout()) : Promise.resolve(lockTimeoutMs);
    });
    expect(await waits).toBe(100);
    await expect(lane.run('row', () => Promise.reject(new Poisoned()))).rejects.toEqual(new Poisoned());
  });
});
