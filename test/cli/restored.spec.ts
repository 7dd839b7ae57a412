import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { childEnvironment } from '../support/child-environment.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';

const CLI = join(import.meta.dirname, '../../src/cli/cli.js');

describe('npm run cli -- restored', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
  });
  afterAll(() => database.drop());

  function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      const env = childEnvironment({ DATABASE_URL: database.url });
      execFile(process.execPath, [CLI, 'restored', ...args], { env }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  }

  it('begins, says until when, and ends', async () => {
    const begun = await run('--since', '2026-01-31T10:00:00Z', '--for', '2h', '--json');
    expect([begun.code, begun.stderr]).toEqual([0, '']);
    const restore = JSON.parse(begun.stdout) as Record<string, string>;
    expect(restore['lost_since']).toBe('2026-01-31T10:00:00.000Z');
    expect(Date.parse(restore['ends_at']!) - Date.parse(restore['restored_at']!)).toBe(2 * 3_600_000);

    const ended = await run('--end', '--json');
    expect(JSON.parse(ended.stdout)).toMatchObject({ ended: [{ lost_since: '2026-01-31T10:00:00.000Z' }] });
    expect(await run('--end')).toEqual({ code: 0, stdout: 'There was nothing to end.\n', stderr: '' });
  });

  it('tells a person what follows', async () => {
    const { code, stdout } = await run('--since', '2026-01-31T10:00:00Z');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^What was sent from 2026-01-31T10:00:00\.000Z to \S+Z counts as forgotten\.\nUntil \S+Z, first calls look up first/,
    );
    expect((await run('--end')).stdout).toBe('First calls are no longer looked up.\n');
  });

  it.each<[string, string[], number, RegExp]>([
    ['nothing said', [], 2, /either --since or --end is needed/],
    ['both', ['--since', '2026-01-31T10:00:00Z', '--end'], 2, /either --since or --end is needed/],
    ['no time', ['--since', 'yesterday'], 2, /RFC 3339/],
    ['the future', ['--since', '2999-01-31T10:00:00Z'], 1, /^--since must be in the past/],
  ])('refuses %s', async (_name, args, code, message) => {
    const refused = await run(...args);
    expect([refused.code, refused.stdout]).toEqual([code, '']);
    expect(refused.stderr).toMatch(message);
  });
});
