import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Client } from 'pg';
import { CHECKS } from '../../src/verification/checks.js';
import { childEnvironment } from '../support/child-environment.js';
import { book } from '../support/ledger.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { MERCHANT } from '../support/write-path.js';

const CLI = join(import.meta.dirname, '../../src/cli/cli.js');

describe('npm run cli -- verify', () => {
  let database: TestDatabase;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    client = new Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      const env = childEnvironment({ DATABASE_URL: database.url });
      execFile(process.execPath, [CLI, 'verify', ...args], { env }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  }

  it('prints one line per check and exits with 0 when all checks hold', async () => {
    const { code, stdout, stderr } = await run();
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.split('\n')).toEqual([
      ...CHECKS.map(({ name, holds }) => `ok      ${name}: ${holds}`),
      '',
      `All ${CHECKS.length} checks hold.`,
      '',
    ]);
    const json = await run('--json');
    expect([json.code, json.stderr]).toEqual([0, '']);
    expect(json.stdout).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: true });
  });

  it('prints the broken rows and exits with 1 when a check fails', async () => {
    const ledgerTransactionId = await book(client, MERCHANT, 42);
    await client.query(
      `INSERT INTO idempotency_keys (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, status,
         attempt, lease_expires_at, response_status, response_content_type, response_body, expires_at)
       VALUES ($1, $2, $3, 'charge', 'v1:', $3, 'completed', 1, now(), 201, 'application/json', '{}', now())`,
      [MERCHANT, 'a key\u001b[31m', ledgerTransactionId],
    );
    const { code, stdout, stderr } = await run();
    expect([code, stderr]).toEqual([1, '']);
    expect(stdout).toMatch(
      /^BROKEN {2}ledger\.payments: .*\nMERCHANT_ID +TRANSACTION_ID +CURRENCY .*\n.* EUR .* 42 /m,
    );
    expect(stdout).toMatch(/^BROKEN {2}ledger\.balances: /m);
    expect(stdout).toMatch(/^ok {6}ledger\.balanced: /m);
    expect(stdout).toContain('a key\u{fffd}[31m');
    expect(stdout).toMatch(/\n3 of \d+ checks do not hold\.\n$/);

    const json = await run('--json');
    expect(json.code).toBe(1);
    const { ok, checks } = JSON.parse(json.stdout) as {
      ok: boolean;
      checks: { name: string; ok: boolean }[];
    };
    expect(ok).toBe(false);
    expect(checks.find(({ name }) => name === 'ledger.payments')).toMatchObject({
      ok: false,
      broken: [{ merchant_id: MERCHANT, currency: 'EUR', booked_captured: '42' }],
      more: false,
    });
  });

  it('answers a usage error with help and exit code 2', async () => {
    expect(await run('now')).toMatchObject({ code: 2, stdout: '' });
  });
});
