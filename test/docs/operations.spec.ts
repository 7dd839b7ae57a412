import { Metrics } from '../../src/metrics/metrics.js';
import { TestApp } from '../support/test-app.js';
import { codes, readPage, tableRows } from './pages.js';

describe('docs/operations.md', () => {
  let service: TestApp;
  beforeAll(async () => {
    service = await TestApp.start();
  });
  afterAll(() => service.stop());

  it('has every metric of ours, once, and no other', async () => {
    const metrics = service.app.get(Metrics).registry.getMetricsAsArray();
    const ours = metrics.map(({ name }) => name).filter((name) => name.startsWith('hapax_'));
    const described = tableRows(await readPage('docs/operations.md'))
      .filter((row) => row.length === 3)
      .flatMap(([first = '']) => codes(first))
      .filter((code) => code.startsWith('hapax_'));
    expect(ours.length).toBeGreaterThan(20);
    expect(described.toSorted()).toEqual(ours.toSorted());
  });

  it('names no metric in its text that does not exist', async () => {
    const metrics = service.app.get(Metrics).registry.getMetricsAsArray();
    const ours = metrics.map(({ name }) => name);
    for (const [name] of (await readPage('docs/operations.md')).matchAll(/\bhapax_[a-z_]+/g)) {
      expect(ours).toContain(name.replace(/_(bucket|count|sum)$/, ''));
    }
  });
});
