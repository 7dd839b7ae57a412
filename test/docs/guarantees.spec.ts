import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { codes, readPage, ROOT, tableRows } from './pages.js';

describe.each(['README.md', 'docs/guarantees.md'])('the guarantees in %s', (page) => {
  it('each name the tests that show them, and those tests exist', async () => {
    const rows = tableRows(await readPage(page)).filter((row) => row.length === 3);
    expect(rows.length).toBeGreaterThanOrEqual(10);
    for (const [, , tests = ''] of rows) {
      const paths = codes(tests);
      expect(paths).not.toEqual([]);
      for (const path of paths) {
        expect(path).toMatch(/^test\/.*\.spec\.ts$/);
        await expect(access(join(ROOT, path))).resolves.toBeUndefined();
      }
    }
  });
});

it('the README has ten of the guarantees', async () => {
  const rows = tableRows(await readPage('README.md')).filter(([, , tests]) => tests?.includes('.spec.ts'));
  expect(rows).toHaveLength(10);
});
