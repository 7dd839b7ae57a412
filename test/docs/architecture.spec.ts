import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FLOOR_PLAN } from '../architecture/floor-plan.js';
import { ROOT } from './pages.js';

const page = readFileSync(join(ROOT, 'docs/architecture.md'), 'utf8');

describe('docs/architecture.md', () => {
  it('follows a charge through at most five files, and gives their lines within a tenth', () => {
    const rows = [...page.matchAll(/^\| `(src\/[^`]+)`\s*\|\s*(\d+) \|/gm)];
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.length).toBeLessThanOrEqual(5);
    for (const [, file = '', lines] of rows) {
      const real = readFileSync(join(ROOT, file), 'utf8').split('\n').length - 1;
      expect([file, Math.abs(Number(lines) - real) <= real / 10]).toEqual([file, true]);
    }
  });

  it('draws the floor plan that the architecture test enforces', () => {
    const plan = page.slice(page.indexOf('## The house'), page.indexOf('## Glossary'));
    const places = FLOOR_PLAN.flat()
      .filter((room) => room !== 'entry')
      .map((room) => [room, plan.indexOf(`\`${room}/\``)] as const);
    expect(places.filter(([, place]) => place < 0)).toEqual([]);
    const floors = FLOOR_PLAN.map((rooms) =>
      rooms.flatMap((room) => places.filter(([name]) => name === room).map(([, place]) => place)),
    );
    // Rooms of one floor may stand in any order; every floor stands below the one above it.
    for (let floor = 1; floor < floors.length; floor += 1) {
      expect(Math.max(...floors[floor - 1]!)).toBeLessThan(Math.min(...floors[floor]!));
    }
  });
});
