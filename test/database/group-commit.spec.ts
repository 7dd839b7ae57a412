import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { OverloadedError } from '../../src/database/database-errors.js';
import { GroupCommit, MAX_GROUP_SIZE } from '../../src/database/group-commit.js';
import { CommitUnknownError } from '../../src/database/pipelined-transactions.js';

class Poisoned extends Error {}
class Down extends Error {}

interface Item {
  id: number;
  poisoned: boolean;
}

const result = ({ id }: Item): string => `result of ${id}`;

/** Bursts of items. The items of a burst arrive in one turn of the event loop. */
const bursts = fc
  .array(fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 10 })
  .map((sizes) => {
    let id = 0;
    return sizes.map((burst) => burst.map((poisoned): Item => ({ id: (id += 1), poisoned })));
  });

/** Submits burst after burst and returns the result of each item, by its id. */
async function submitAll(group: GroupCommit<Item, string>, arriving: Item[][]) {
  const outcomes = new Map<number, string | Error>();
  const all: Promise<unknown>[] = [];
  for (const burst of arriving) {
    for (const item of burst) {
      all.push(
        group.submit(item).then(
          (value) => outcomes.set(item.id, value),
          (error: Error) => outcomes.set(item.id, error),
        ),
      );
    }
    await nextTurn();
  }
  await Promise.all(all);
  return outcomes;
}

describe('group commit', () => {
  it('gives each item its own result, and a poisoned item never fails its neighbours', async () => {
    await fc.assert(
      fc.asyncProperty(bursts, async (arriving) => {
        const group = new GroupCommit<Item, string>(async (items) => {
          await nextTurn();
          if (items.some((item) => item.poisoned)) throw new Poisoned();
          return items.map(result);
        });
        const outcomes = await submitAll(group, arriving);
        for (const item of arriving.flat()) {
          expect(outcomes.get(item.id)).toEqual(item.poisoned ? new Poisoned() : result(item));
        }
      }),
      { numRuns: 50 },
    );
  });

  it('commits in the order of arrival, one group at a time, and each item once', async () => {
    await fc.assert(
      fc.asyncProperty(bursts, async (arriving) => {
        const committed: number[] = [];
        let inFlight = 0;
        const group = new GroupCommit<Item, string>(async (items) => {
          expect((inFlight += 1)).toBe(1);
          committed.push(...items.map((item) => item.id));
          await nextTurn();
          inFlight -= 1;
          return items.map(result);
        });
        await submitAll(group, arriving);
        expect(committed).toEqual(arriving.flat().map((item) => item.id));
      }),
      { numRuns: 50 },
    );
  });

  /** Keeps a group of one in flight until the test ends it. Items submitted meanwhile wait. */
  async function withOneInFlight(
    commit: (items: number[]) => number[],
    failsForAll?: (error: unknown) => boolean,
  ) {
    const sizes: number[] = [];
    const gate = Promise.withResolvers<void>();
    const group = new GroupCommit<number, number>(
      async (items) => {
        await gate.promise;
        return commit(items);
      },
      { onGroup: (size) => sizes.push(size), ...(failsForAll && { failsForAll }) },
    );
    const first = group.submit(0);
    while (sizes.length === 0) await nextTurn();
    return { group, sizes, first, letGo: () => gate.resolve() };
  }

  it('commits a lone item by itself, and items that arrive meanwhile together, at most 256 at a time', async () => {
    const { group, sizes, first, letGo } = await withOneInFlight((items) => items);
    expect(sizes).toEqual([1]);
    const others = Array.from({ length: 2 * MAX_GROUP_SIZE + 10 }, (_, index) => group.submit(index + 1));
    letGo();
    expect(await Promise.all([first, ...others])).toEqual(Array.from({ length: 523 }, (_, index) => index));
    expect(sizes).toEqual([1, MAX_GROUP_SIZE, MAX_GROUP_SIZE, 10]);
  });

  it('refuses items that would wait too long, and serves every item that it accepted', async () => {
    const { group, first, letGo } = await withOneInFlight((items) => items);
    const submitted = Array.from({ length: 10_100 }, (_, index) => group.submit(index));
    letGo();
    const outcomes = await Promise.allSettled(submitted);
    const refused = outcomes
      .slice(10_000)
      .map((outcome) => (outcome as PromiseRejectedResult).reason as unknown);
    expect(refused).toEqual(refused.map(() => expect.any(OverloadedError)));
    expect(outcomes.slice(0, 10_000)).toEqual(
      outcomes.slice(0, 10_000).map((_, index) => ({ status: 'fulfilled', value: index })),
    );
    expect(await first).toBe(0);
  });

  it('does not retry each item of a group against a database that is down', async () => {
    let commits = 0;
    const down = () => {
      commits += 1;
      throw new Down();
    };
    const { group, first, letGo } = await withOneInFlight(down, (error) => error instanceof Down);
    const others = Array.from({ length: 100 }, (_, index) => group.submit(index));
    letGo();
    const outcomes = await Promise.allSettled([first, ...others]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: expect.any(Down) });
    expect(commits).toBe(2);
  });

  describe('when the connection is lost during COMMIT', () => {
    /** Loses the answer of the first commit of several items, whether or not it `happened`. */
    function losingItsAnswer(happened: boolean, afterwards: () => void = () => undefined) {
      const written = new Map<number, number>();
      let lost = false;
      const group = new GroupCommit<number, string>(
        async (items) => {
          await nextTurn();
          if (lost) afterwards();
          const loseThis = !lost && items.length > 1;
          // As in our stores, an existing item is found, not written again.
          if (!loseThis || happened) for (const item of items) if (!written.has(item)) written.set(item, 1);
          if (loseThis) {
            lost = true;
            throw new CommitUnknownError('lost');
          }
          return items.map((item) => `result of ${item}`);
        },
        { failsForAll: (error) => error instanceof Down },
      );
      return { group, written };
    }

    it.each([true, false])(
      'each item is committed again by itself and gets its result (the commit happened: %s)',
      async (happened) => {
        const { group, written } = losingItsAnswer(happened);
        const ids = Array.from({ length: 21 }, (_, index) => index);
        expect(await Promise.all(ids.map((id) => group.submit(id)))).toEqual(
          ids.map((id) => `result of ${id}`),
        );
        expect([...written.keys()].toSorted((a, b) => a - b)).toEqual(ids);
      },
    );

    it('and the database is down afterwards, no item is rejected as if nothing happened', async () => {
      const { group } = losingItsAnswer(true, () => {
        throw new Down();
      });
      const outcomes = await Promise.allSettled(Array.from({ length: 6 }, (_, index) => group.submit(index)));
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(CommitUnknownError) });
      }
    });

    it.each([
      [1, { value: 'found' }],
      [2, { reason: new CommitUnknownError('lost') }],
    ])(
      'a single item is committed once more, and stays open only if that fails too (%d lost)',
      async (lost, told) => {
        let commits = 0;
        const group = new GroupCommit<number, string>(async () => {
          await nextTurn();
          commits += 1;
          if (commits <= lost) throw new CommitUnknownError('lost');
          return ['found'];
        });
        expect(await Promise.allSettled([group.submit(1)])).toMatchObject([told]);
        expect(commits).toBe(2);
      },
    );
  });
});
