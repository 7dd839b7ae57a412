import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export const HOST = '127.0.0.1';
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 12_000;
const POLL_MS = 25;
const RESTART_MS = 250;
/** Below the ports that systems use for outgoing connections, so that no other program takes one while its process is down. */
const FIRST_PORT = 20_000;
const LAST_PORT = 29_999;

/** A process that we kill, stop, wake and start again, always at the same address. */
export interface Kept {
  readonly name: string;
  /** Kills it, and starts it again after a while. Resolves when it is up. */
  kill(downMs: number): Promise<void>;
  /** Stops it, and wakes it after a while. */
  pause(asleepMs: number): Promise<void>;
}

interface KeptProgram {
  name: string;
  program: string;
  port: number;
  /** A path that answers 200 once the program is up. */
  readyPath: string;
  logFile: string;
  /** @param start counts the program's starts, from 1. */
  env: (start: number) => Record<string, string>;
}

/** Killed when this process exits, so that an interrupted run leaves nothing listening. */
const children = new Set<ChildProcess>();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/** One of our programs in its own process. Like a service manager, it starts the program again whenever it ends. */
export class KeptProcess implements Kept {
  /** One line for each time that it ended by itself after it was up. */
  readonly failures: string[] = [];
  private child: ChildProcess | null = null;
  private starts = 0;

  constructor(private readonly program: KeptProgram) {}

  get name(): string {
    return this.program.name;
  }

  get url(): string {
    return `http://${HOST}:${this.program.port}`;
  }

  /** Resolves when it is up. If it ends first, because something it needs is down, it is started again. */
  async start(): Promise<void> {
    const giveUpAtMs = Date.now() + READY_LIMIT_MS;
    for (;;) {
      const child = this.spawn();
      while (isAlive(child)) {
        if (await this.isReady()) return this.watch(child);
        if (Date.now() > giveUpAtMs)
          throw new Error(`${this.name} did not start: see ${this.program.logFile}`);
        await sleep(POLL_MS);
      }
      if (Date.now() > giveUpAtMs)
        throw new Error(`${this.name} does not start: see ${this.program.logFile}`);
      await sleep(RESTART_MS);
    }
  }

  async kill(downMs: number): Promise<void> {
    await this.end('SIGKILL');
    await sleep(downMs);
    await this.start();
  }

  async pause(asleepMs: number): Promise<void> {
    this.child?.kill('SIGSTOP');
    await sleep(asleepMs);
    this.child?.kill('SIGCONT');
  }

  /** Stops it as an operator does, then starts it. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async stop(): Promise<void> {
    await this.end('SIGTERM');
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child === null || !isAlive(child)) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
    await ended;
    clearTimeout(limit);
  }

  private spawn(): ChildProcess {
    this.starts += 1;
    const log = openSync(this.program.logFile, 'a');
    const child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', this.program.program],
      // Our own environment must not leak into it.
      { env: { PATH: process.env['PATH'], ...this.program.env(this.starts) }, stdio: ['ignore', log, log] },
    );
    closeSync(log);
    children.add(child);
    child.once('exit', () => children.delete(child));
    this.child = child;
    return child;
  }

  /** A process that ends by itself counts as a failure, and is started again. */
  private watch(child: ChildProcess): void {
    const ended = (): void => {
      if (this.child !== child) return;
      this.failures.push(`${this.name} ended by itself: ${child.signalCode ?? `code ${child.exitCode}`}`);
      void this.start();
    };
    if (isAlive(child)) child.once('exit', ended);
    else ended();
  }

  private async isReady(): Promise<boolean> {
    try {
      const answer = await fetch(this.url + this.program.readyPath, { signal: AbortSignal.timeout(2_000) });
      await answer.body?.cancel();
      return answer.ok;
    } catch {
      return false;
    }
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** Ports that nothing listens on, and that no outgoing connection can take later. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  let port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT - 1_000));
  for (; ports.length < count; port += 1) {
    if (port > LAST_PORT) throw new Error('there are no free ports');
    if (await isFree(port)) ports.push(port);
  }
  return ports;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, HOST, () => probe.close(() => resolve(true)));
  });
}
