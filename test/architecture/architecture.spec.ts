import { circles, FLOOR_PLAN, roomOf, wrongArrows } from './floor-plan.js';
import { readImports } from './read-imports.js';

describe('the house', () => {
  const imports = readImports('src');

  it('has only imports that lead down', () => {
    expect(imports.size).toBeGreaterThan(150);
    expect(wrongArrows(imports)).toEqual([]);
  });

  it('has exactly the rooms of the plan', () => {
    const rooms = new Set([...imports.keys()].map(roomOf));
    expect([...rooms].toSorted()).toEqual(FLOOR_PLAN.flat().toSorted());
  });

  it.each(['src', 'chaos', 'bench'])('has no files that import each other in a circle: %s', (folder) => {
    expect(circles(readImports(folder))).toEqual([]);
  });

  describe('control: a planted violation is found', () => {
    const planted = (from: string, to: string) => new Map([...imports, [from, [to]]]);

    it.each([
      ['upwards', 'idempotency/planted.ts', 'payments/payments.store.ts'],
      ['from the engine to its wire', 'idempotency/planted.ts', 'idempotency/wire/prefer.ts'],
      ['within the kit', 'database/planted.ts', 'auth/api-key.entity.ts'],
      ['sideways', 'payments/planted.ts', 'webhooks/webhooks.module.ts'],
      ['to the entry', 'health/planted.ts', 'app.module.ts'],
      ['from a room without a floor', 'attic/planted.ts', 'domain/money.ts'],
    ])('%s', (_which, from, to) => {
      expect(wrongArrows(planted(from, to))).toEqual([`${from} -> ${to}`]);
    });

    it('a circle', () => {
      const circle = new Map([
        ['a.ts', ['b.ts']],
        ['b.ts', ['c.ts']],
        ['c.ts', ['b.ts']],
      ]);
      expect(circles(circle)).toEqual([['b.ts', 'c.ts']]);
    });
  });
});
