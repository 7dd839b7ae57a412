import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Client } from 'pg';
import { hashApiKey } from '../../src/auth/api-key.js';
import { runMigrations } from '../../src/database/migrations.js';
import { startEmbeddedPostgres, type EmbeddedPostgresServer } from '../../src/embedded-postgres/server.js';
import { SandboxBooks } from '../../src/gateways/sandbox/sandbox-books.js';
import { childEnvironment } from '../support/child-environment.js';
import {
  createTemporaryFolder,
  createTestDatabase,
  type TemporaryFolder,
  type TestDatabase,
} from '../support/postgres.js';

const CLI = join(import.meta.dirname, '../../src/cli/cli.js');
const UUID = /^[0-9a-f-]{36}$/;
const ALL_SCOPES = ['payments:read', 'payments:write', 'refunds:write', 'webhooks:manage'];

interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** What any command prints as JSON. */
interface Answer {
  merchant_id: string;
  api_key: string;
  api_key_id: string;
  expires_at: string;
  old_key_expires_at: string;
  scopes: string[];
  data: { api_key_id: string; status: string; prefix: string }[];
}

/** Runs the real command as a person would, in a folder of its own. */
function cli(folder: TemporaryFolder, env: Record<string, string>, ...args: string[]): Promise<Run> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [CLI, ...args],
      { cwd: folder.path, env: childEnvironment(env) },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

describe('the command line', () => {
  let database: TestDatabase;
  let folder: TemporaryFolder;
  let client: Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    folder = await createTemporaryFolder();
    client = new Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await database.drop();
    await folder.remove();
  });

  const run = (...args: string[]) => cli(folder, { DATABASE_URL: database.url }, ...args);

  /** Runs a command with `--json`, which must print one line of JSON and nothing else. */
  async function json(...args: string[]): Promise<Answer> {
    const { code, stdout, stderr } = await run(...args, '--json');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^\{.*\}\n$/);
    return JSON.parse(stdout) as Answer;
  }

  async function rowOf(apiKey: string): Promise<Record<string, unknown>> {
    const { rows } = await client.query('SELECT * FROM api_keys WHERE key_hash = $1', [hashApiKey(apiKey)]);
    return rows[0];
  }

  it('creates a merchant with a key that works', async () => {
    const created = await json('merchants', 'create', '--name', 'Shop B');
    expect(created).toEqual({
      merchant_id: expect.stringMatching(UUID),
      api_key: expect.stringMatching(/^hpx_live_[0-9A-Za-z]{38}$/),
    });
    expect(await rowOf(created.api_key)).toMatchObject({
      merchant_id: created.merchant_id,
      scopes: ALL_SCOPES,
      expires_at: null,
      sandbox_only: false,
    });
    const { data } = await json('merchants', 'list');
    expect(data).toContainEqual({
      merchant_id: created.merchant_id,
      name: 'Shop B',
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  it('creates, lists, rotates and revokes API keys', async () => {
    const { merchant_id } = await json('merchants', 'create', '--name', 'Shop C');
    const options = ['--scopes', 'refunds:write,payments:read', '--expires-in', '90d'];
    const made = await json('api-keys', 'create', '--merchant', merchant_id, ...options);
    expect(made).toEqual({
      api_key_id: expect.stringMatching(UUID),
      merchant_id,
      api_key: expect.any(String),
      scopes: ['payments:read', 'refunds:write'],
      expires_at: expect.any(String),
    });
    const days = (new Date(made.expires_at).getTime() - Date.now()) / 86_400_000;
    expect(Math.round(days)).toBe(90);

    const rotated = await json('api-keys', 'rotate', made.api_key_id, '--overlap', '1h');
    expect(rotated).toMatchObject({ merchant_id, scopes: made.scopes, replaces: made.api_key_id });
    const overlapMs = new Date(rotated.old_key_expires_at).getTime() - Date.now();
    expect(Math.round(overlapMs / 60_000)).toBe(60);
    expect(await rowOf(made.api_key)).toMatchObject({
      replaced_by: rotated.api_key_id,
      revoked_at: null,
    });

    const revoked = await json('api-keys', 'revoke', rotated.api_key_id);
    expect(revoked).toEqual({ api_key_id: rotated.api_key_id, revoked_at: expect.any(String) });

    const { data } = await json('api-keys', 'list', '--merchant', merchant_id);
    expect(data.map(({ status }) => status)).toEqual(['active', 'active', 'revoked']);
    expect(JSON.stringify(data)).not.toContain(made.api_key);
    expect(data[1]).toMatchObject({ prefix: made.api_key.slice(0, 13), last_used_at: null });
  });

  it('ends the old key at once without an overlap', async () => {
    const { merchant_id } = await json('merchants', 'create', '--name', 'Shop D');
    const { data } = await json('api-keys', 'list', '--merchant', merchant_id);
    await json('api-keys', 'rotate', data[0]!.api_key_id, '--overlap', '0s');
    const { data: after } = await json('api-keys', 'list', '--merchant', merchant_id);
    expect(after.map(({ status }) => status)).toEqual(['expired', 'active']);
  });

  it('prints the same as text for a person', async () => {
    const created = await run('merchants', 'create', '--name', 'Café "Überall" 東京');
    expect(created.stdout).toMatch(
      /^Merchant {2}\S{36} {2}Café "Überall" 東京\nAPI key {3}hpx_live_\w{38}\n\nKeep the API key/,
    );
    const keys = await run('api-keys', 'list');
    expect(keys.stdout).toMatch(/^API_KEY_ID +MERCHANT_ID +PREFIX +STATUS +SCOPES +EXPIRES +LAST_USED\n/);
    expect(keys.stdout).toMatch(/ active +all +never +never\n/);
  });

  it.each<[string, string[], RegExp]>([
    ['an unknown command', ['nonsense'], /error: unknown command 'nonsense'[^]*Usage: cli/],
    [
      'an unknown subcommand',
      ['merchants', 'nonsense'],
      /unknown command 'nonsense'[^]*Usage: cli merchants/,
    ],
    [
      'an unknown option',
      ['merchants', 'list', '--nonsense'],
      /unknown option '--nonsense'[^]*Usage: cli merchants list/,
    ],
    ['one argument too many', ['merchants', 'list', 'x'], /too many arguments[^]*Usage/],
    ['no command', [], /Usage: cli/],
    ['no subcommand', ['api-keys'], /Usage: cli api-keys/],
    ['a missing option', ['merchants', 'create'], /required option '--name <name>' not specified/],
    ['a missing argument', ['api-keys', 'revoke'], /missing required argument 'key-id'/],
    ['an empty name', ['merchants', 'create', '--name', '  '], /1 to 100 characters/],
    ['a long name', ['merchants', 'create', '--name', 'x'.repeat(101)], /1 to 100 characters/],
    [
      'a name with control characters',
      ['merchants', 'create', '--name', 'a\u001b[31m'],
      /control characters/,
    ],
    ['a merchant that is not an id', ['api-keys', 'create', '--merchant', 'x'], /must be a UUID/],
    ['a key that is not an id', ['api-keys', 'rotate', "'; DROP TABLE api_keys"], /must be a UUID/],
    [
      'a scope that does not exist',
      ['api-keys', 'create', '--merchant', crypto.randomUUID(), '--scopes', 'payments:read,all'],
      /must be a list of payments:read, /,
    ],
    [
      'a duration without a unit',
      ['api-keys', 'create', '--merchant', crypto.randomUUID(), '--expires-in', '90'],
      /such as 90d, 24h or 30m/,
    ],
    [
      'a lifetime of zero',
      ['api-keys', 'create', '--merchant', crypto.randomUUID(), '--expires-in', '0d'],
      /such as 90d, 24h or 30m/,
    ],
    [
      'a lifetime of a century',
      ['api-keys', 'create', '--merchant', crypto.randomUUID(), '--expires-in', '100y'],
      /up to 10 years/,
    ],
  ])('answers %s with help and exit code 2', async (_name, args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/ {4}at /);
  });

  it.each([[['--help']], [['merchants', '--help']], [['api-keys', 'rotate', '--help']]])(
    'answers %j with help and exit code 0',
    async (args) => {
      const { code, stdout, stderr } = await run(...args);
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout).toMatch(/^Usage: cli/);
    },
  );

  it('says in one sentence what it cannot do', async () => {
    const id = crypto.randomUUID();
    const lines = await Promise.all([
      run('api-keys', 'create', '--merchant', id),
      run('api-keys', 'revoke', id),
      run('api-keys', 'rotate', id, '--json'),
    ]);
    expect(lines).toEqual([
      { code: 1, stdout: '', stderr: `There is no merchant ${id}.\n` },
      { code: 1, stdout: '', stderr: `There is no API key ${id}.\n` },
      { code: 1, stdout: '', stderr: `There is no API key ${id}.\n` },
    ]);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    [
      'no database',
      {},
      /^There is no database: no sandbox runs on .*Start it with "npm start", or set DATABASE_URL\.\n$/,
    ],
    [
      'a database that is down',
      { DATABASE_URL: 'postgres://u@127.0.0.1:1/x' },
      /^The database refused: .*ECONNREFUSED.*\n$/,
    ],
    [
      'a wrong configuration',
      { DATABASE_URL: 'mysql://x' },
      /^The configuration is wrong:\n {2}- DATABASE_URL must be a URL/,
    ],
  ])('says in one sentence that there is %s', async (_name, env, message) => {
    const { code, stdout, stderr } = await cli(folder, env, 'merchants', 'list', '--json');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
  });

  it('says what to do if the database lacks migrations', async () => {
    const url = new URL(database.url);
    url.pathname = '/postgres';
    const { code, stderr } = await cli(folder, { DATABASE_URL: url.href }, 'merchants', 'list');
    expect([code, stderr]).toEqual([
      1,
      'The database lacks migrations: run "npm run migration:run" first.\n',
    ]);
  });
});

describe('the command line beside a running sandbox', () => {
  let server: EmbeddedPostgresServer;
  let folder: TemporaryFolder;

  beforeAll(async () => {
    folder = await createTemporaryFolder();
    server = await startEmbeddedPostgres(join(folder.path, '.data'), { settings: { fsync: 'off' } });
    await runMigrations(server.url);
  });
  afterAll(async () => {
    await server.stop();
    await folder.remove();
  });

  it('finds its database by itself', async () => {
    const created = await cli(folder, {}, 'merchants', 'create', '--name', 'Shop B', '--json');
    expect([created.code, created.stderr]).toEqual([0, '']);
    const { merchant_id, api_key } = JSON.parse(created.stdout) as Record<string, string>;
    expect(api_key).toMatch(/^hpx_test_/);
    const listed = await cli(folder, {}, 'merchants', 'list', '--json');
    expect(JSON.parse(listed.stdout)).toMatchObject({ data: [{ merchant_id, name: 'Shop B' }] });
  });

  it('starts its database for the duration of a comparison if no service runs it', async () => {
    await server.stop();
    const books = new SandboxBooks(join(folder.path, '.data', 'sandbox-gateway', 'books.sqlite'));
    books.close();
    const { code, stdout, stderr } = await cli(folder, {}, 'reconcile', '--json');
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ agrees: true, compared: { payments: 0, effects: 0 } });
  });
});
