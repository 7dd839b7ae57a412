import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { StartupError } from '../../src/config/startup-error.js';
import { findEmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/server.js';
import { createTemporaryFolder, type TemporaryFolder } from '../support/postgres.js';

const SERVICE = fileURLToPath(new URL('./service.js', import.meta.url));

describe('the embedded PostgreSQL', () => {
  let folder: TemporaryFolder;
  let template: TemporaryFolder;
  let dataDir: string;
  const services: ChildProcess[] = [];

  beforeAll(async () => {
    template = await createTemporaryFolder();
    const server = await startEmbeddedPostgres(join(template.path, 'data'));
    await server.stop();
  });

  beforeEach(async () => {
    folder = await createTemporaryFolder();
    dataDir = join(folder.path, 'data');
  });

  afterEach(async () => {
    for (const service of services.splice(0)) service.kill('SIGKILL');
    await eventually(async () => !existsSync(join(dataDir, 'postgres', 'postmaster.pid')));
    await folder.remove();
  });

  afterAll(() => template.remove());

  it('keeps its data across a restart, with durable commits', async () => {
    copyTemplate();
    const first = await startEmbeddedPostgres(dataDir);
    expect(await findEmbeddedPostgres(dataDir)).toBe(first.url);
    await query(first.url, "CREATE TABLE kept AS SELECT 'yes' AS value");
    await first.stop();
    expect(await findEmbeddedPostgres(dataDir)).toBeNull();

    const second = await startEmbeddedPostgres(dataDir);
    expect(await query(second.url, 'SELECT value FROM kept')).toEqual([{ value: 'yes' }]);
    expect(await setting(second.url, 'fsync')).toBe('on');
    expect(await setting(second.url, 'synchronous_commit')).toBe('on');
    expect(await setting(second.url, 'server_encoding')).toBe('UTF8');
    expect(await setting(second.url, 'listen_addresses')).toBe('127.0.0.1');
    await second.stop();
  });

  it('keeps its password in a private file and refuses a connection without it', async () => {
    copyTemplate();
    const { url, stop } = await startEmbeddedPostgres(dataDir);
    expect((await stat(join(dataDir, 'postgres.password'))).mode & 0o777).toBe(0o600);
    const withoutPassword = new URL(url);
    withoutPassword.password = 'wrong';
    await expect(query(withoutPassword.href, 'SELECT 1')).rejects.toThrow('password authentication failed');
    await stop();
  });

  it('refuses a second start on the same folder with one sentence', async () => {
    copyTemplate();
    const first = await startEmbeddedPostgres(dataDir);
    const second = startEmbeddedPostgres(dataDir);
    await expect(second).rejects.toBeInstanceOf(StartupError);
    await expect(second).rejects.toThrow(
      `The data folder ${dataDir} is already in use by another Hapax process (pid ${process.pid}): ` +
        'stop it first, or set DATA_DIR to another folder',
    );
    expect(await query(first.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await first.stop();
  });

  it('lets exactly one of several simultaneous first starts win', async () => {
    const starts = await Promise.allSettled([1, 2, 3].map(() => startEmbeddedPostgres(dataDir)));
    const winners = starts.filter((start) => start.status === 'fulfilled');
    const refusals = starts
      .filter((start) => start.status === 'rejected')
      .map((start) => String(start.reason));
    expect(winners).toHaveLength(1);
    expect(refusals).toEqual([
      expect.stringContaining('already in use'),
      expect.stringContaining('already in use'),
    ]);
    await winners[0]?.value.stop();
  });

  it('stops by itself when the service is killed', async () => {
    const service = await startService();
    service.kill('SIGKILL');
    await eventually(async () => !isAlive(service.postmaster));
    expect(await findEmbeddedPostgres(dataDir)).toBeNull();
  });

  it('stays up when the supervisor gets signals that are meant for the service', async () => {
    const service = await startService();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(service.supervisor, signal);
    await sleep(300);
    expect(await query(service.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('starts again with all committed data after every process was killed', async () => {
    const service = await startService();
    await query(service.url, "CREATE TABLE kept AS SELECT 'yes' AS value");
    service.kill('SIGKILL');
    process.kill(service.supervisor, 'SIGKILL');
    process.kill(service.postmaster, 'SIGKILL');
    expect(await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).toContain(
      String(service.postmaster),
    );

    const { url, stop } = await startEmbeddedPostgres(dataDir);
    expect(await query(url, 'SELECT value FROM kept')).toEqual([{ value: 'yes' }]);
    await stop();
  });

  it('takes over from a server that outlived its supervisor', async () => {
    const service = await startService();
    service.kill('SIGKILL');
    process.kill(service.supervisor, 'SIGKILL');

    const { url, stop } = await startEmbeddedPostgres(dataDir);
    expect(isAlive(service.postmaster)).toBe(false);
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await stop();
  });

  it('comes back on the same address when PostgreSQL alone was killed', async () => {
    const service = await startService();
    process.kill(service.postmaster, 'SIGKILL');
    await eventually(async () => (await findEmbeddedPostgres(dataDir)) !== null);
    expect(await query(service.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('starts despite a postmaster.pid that names another process', async () => {
    copyTemplate();
    const { uid, gid } = await stat(join(template.path, 'data', 'postgres'));
    const stranger = spawn('sleep', ['60'], {
      stdio: 'ignore',
      ...(process.getuid?.() === 0 ? { uid, gid } : {}),
    });
    const stale = [stranger.pid, join(dataDir, 'postgres'), 1, 5432, '', '127.0.0.1', '', 'ready'].join('\n');
    await writeFile(join(dataDir, 'postgres', 'postmaster.pid'), `${stale}\n`);

    const { url, stop } = await startEmbeddedPostgres(dataDir);
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    expect(stranger.exitCode ?? stranger.signalCode).toBeNull();
    stranger.kill();
    await stop();
  });

  it('starts from scratch when the first start was killed half-way', async () => {
    const service = fork(SERVICE, [dataDir], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    services.push(service);
    await eventually(async () => existsSync(join(dataDir, 'postgres.new', 'cluster', 'PG_VERSION')));
    service.kill('SIGKILL');

    const { url, stop } = await startEmbeddedPostgres(dataDir);
    expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await stop();
  });

  /**
   * A used data folder, because copying one is quicker than initialising one. When the tests run as root, root owns the
   * copy. PostgreSQL would refuse it, so starting on it shows that we mend its owner.
   */
  const copyTemplate = () => execFileSync('cp', ['-R', join(template.path, 'data'), dataDir]);

  /** Starts PostgreSQL from a process of its own, as the service does, so that the process can be killed. */
  async function startService() {
    copyTemplate();
    const service = fork(SERVICE, [dataDir], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    services.push(service);
    const [url] = (await once(service, 'message')) as [string];
    const pidFile = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8');
    const postmaster = Number(pidFile.split('\n')[0]);
    return { url, postmaster, supervisor: parentOf(postmaster), kill: service.kill.bind(service) };
  }
});

/** On Linux reads /proc, because small images lack `ps`. */
function parentOf(pid: number): number {
  if (process.platform !== 'linux')
    return Number(execFileSync('ps', ['-o', 'ppid=', '-p', String(pid)], { encoding: 'utf8' }));
  return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function setting(url: string, name: string): Promise<unknown> {
  const [row] = await query(url, `SHOW ${name}`);
  return row?.[name];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const giveUpAt = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > giveUpAt) throw new Error('it did not happen within 10 s');
    await sleep(50);
  }
}
