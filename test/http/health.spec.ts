import { jest } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { createDataSource } from '../../src/database/data-source.js';
import { ENTITIES } from '../../src/entities.js';
import { Readiness } from '../../src/health/readiness.js';
import { createTestDatabase } from '../support/postgres.js';

/** Readiness with a fake database whose only method is `query`. */
function readinessOf(query: () => Promise<unknown>): Readiness {
  return new Readiness({ query } as unknown as DataSource);
}

describe('the service', () => {
  it('is ready while its database answers, and unavailable once it is gone', async () => {
    const database = await createTestDatabase();
    const dataSource = await createDataSource(database.url, ENTITIES).initialize();
    const readiness = new Readiness(dataSource);
    expect(await readiness.check()).toEqual({ status: 'ok', checks: { database: 'up' } });
    await dataSource.destroy();
    expect(await readiness.check()).toEqual({ status: 'unavailable', checks: { database: 'down' } });
    await database.drop();
  });

  it('is unavailable when its database is silent for a second, and sends it only one query', async () => {
    const query = jest.fn(() => new Promise<never>(() => undefined));
    const readiness = readinessOf(query);
    const started = performance.now();
    const reports = await Promise.all([readiness.check(), readiness.check(), readiness.check()]);
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(reports.map(({ status }) => status)).toEqual(['unavailable', 'unavailable', 'unavailable']);
    expect(query).toHaveBeenCalledTimes(1);
  });

  it('is ready again when its database is back', async () => {
    let down = true;
    const readiness = readinessOf(() => (down ? Promise.reject(new Error('x')) : Promise.resolve([])));
    expect((await readiness.check()).status).toBe('unavailable');
    down = false;
    expect((await readiness.check()).status).toBe('ok');
  });

  it('is not ready once it has begun to stop', async () => {
    const readiness = readinessOf(() => Promise.resolve([]));
    readiness.stop();
    expect(await readiness.check()).toEqual({ status: 'stopping', checks: { database: 'up' } });
  });
});
