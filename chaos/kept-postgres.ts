import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { embeddedPostgresFiles, readPostmasterPid } from '../src/embedded-postgres/data-folder.js';
import { startEmbeddedPostgres, type EmbeddedPostgresServer } from '../src/embedded-postgres/server.js';
import type { Kept } from './kept-process.js';

const READY_LIMIT_MS = 60_000;
const POLL_MS = 50;

/** Woken when this process exits, so that an interrupted run leaves no process stopped. */
const asleep = new Set<number>();
process.on('exit', () => wake([...asleep]));

/** A real, fully durable PostgreSQL: what it committed survives the death of its postmaster. */
export class KeptPostgres implements Kept {
  readonly name = 'postgres';

  private constructor(
    private readonly server: EmbeddedPostgresServer,
    private readonly dataDir: string,
  ) {}

  static async start(dataDir: string, port: number): Promise<KeptPostgres> {
    return new KeptPostgres(await startEmbeddedPostgres(dataDir, { port }), dataDir);
  }

  get url(): string {
    return this.server.url;
  }

  /** Crashes it. Its supervisor starts it again a second later, and it recovers from its log. */
  async kill(): Promise<void> {
    const killed = await this.postmaster();
    process.kill(killed, 'SIGKILL');
    const giveUpAtMs = Date.now() + READY_LIMIT_MS;
    while (!(await this.isUpAgain(killed))) {
      if (Date.now() > giveUpAtMs) throw new Error('PostgreSQL did not come back');
      await sleep(POLL_MS);
    }
  }

  /** Stops the postmaster first, so that it starts no backend that we would miss. */
  async pause(asleepMs: number): Promise<void> {
    const postmaster = await this.postmaster();
    stop([postmaster]);
    const backends = childrenOf(postmaster);
    stop(backends);
    await sleep(asleepMs);
    wake([...backends, postmaster]);
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  private async postmaster(): Promise<number> {
    const found = await readPostmasterPid(embeddedPostgresFiles(this.dataDir).postmasterPid);
    if (found === null) throw new Error('PostgreSQL does not run');
    return found.pid;
  }

  private async isUpAgain(before: number): Promise<boolean> {
    const found = await readPostmasterPid(embeddedPostgresFiles(this.dataDir).postmasterPid).catch(
      () => null,
    );
    if (found === null || found.pid === before || !found.ready) return false;
    const client = new Client({ connectionString: this.url, connectionTimeoutMillis: 2_000 });
    client.on('error', () => undefined);
    return client
      .connect()
      .then(() => true)
      .catch(() => false)
      .finally(() => void client.end().catch(() => undefined));
  }
}

function stop(pids: readonly number[]): void {
  for (const pid of pids) {
    asleep.add(pid);
    signal(pid, 'SIGSTOP');
  }
}

function wake(pids: readonly number[]): void {
  for (const pid of pids) {
    asleep.delete(pid);
    signal(pid, 'SIGCONT');
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended in the meantime.
  }
}

function childrenOf(parent: number): number[] {
  return processes()
    .filter(({ parentPid }) => parentPid === parent)
    .map(({ pid }) => pid);
}

function processes(): { pid: number; parentPid: number }[] {
  if (process.platform === 'linux') {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => ({ pid: Number(name), parentPid: parentOnLinux(name) }));
  }
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
  return stdout.split('\n').map((line) => {
    const [pid = 0, parentPid = 0] = line.trim().split(/\s+/).map(Number);
    return { pid, parentPid };
  });
}

function parentOnLinux(pid: string): number {
  try {
    // The process name comes first, in parentheses, and may itself contain parentheses.
    return Number(/\) \S (\d+) [^)]*$/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]);
  } catch {
    return 0;
  }
}
