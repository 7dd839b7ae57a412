import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { jest } from '@jest/globals';
import { childEnvironment } from './child-environment.js';

/** A test that starts processes and waits for leases takes seconds, and much longer on a busy machine. */
jest.setTimeout(120_000);

/** The service as it is shipped. */
const REAL_SERVICE = fileURLToPath(new URL('../../src/main.js', import.meta.url));
/** The service with a point at which its process dies or stops; see `crashing-service.ts`. */
export const CRASHING_SERVICE = fileURLToPath(new URL('./crashing-service.js', import.meta.url));

/** A start takes one to two seconds of processor time, which a busy machine may not have at once. */
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;
const MAX_OUTPUT_CHARACTERS = 20_000;
const ADDRESS = /Hapax listens: (http:\/\/\S+)\/v1\n/;

export interface ServiceOptions {
  databaseUrl: string;
  /** Services with the same folder share the sandbox gateway's books, as they would share a real provider. */
  dataDir: string;
  env?: Readonly<Record<string, string>>;
  program?: string;
}

/** A service in its own process, which can be killed, paused and woken. */
export class ServiceProcess {
  private constructor(
    readonly baseUrl: string,
    private readonly child: ChildProcess,
    private readonly output: () => string,
  ) {}

  /** Starts it on a free port and waits until it listens. It gets none of our own environment. */
  static async start({
    databaseUrl,
    dataDir,
    env,
    program = REAL_SERVICE,
  }: ServiceOptions): Promise<ServiceProcess> {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
      env: childEnvironment({
        DATABASE_URL: databaseUrl,
        DATA_DIR: dataDir,
        SANDBOX: 'true',
        PORT: '0',
        LOG_LEVEL: 'warn',
        ...env,
      }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const address = new Promise<string>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output = (output + text).slice(-MAX_OUTPUT_CHARACTERS);
          const found = ADDRESS.exec(output)?.[1];
          if (found !== undefined) resolve(found);
        });
      }
      child.once('exit', (code, signal) =>
        reject(new Error(`the service ended at once (${signal ?? code}):\n${output}`)),
      );
    });
    const limit = new AbortController();
    try {
      const late = sleep(START_LIMIT_MS, undefined, { signal: limit.signal }).then(() => {
        throw new Error(`the service did not start:\n${output}`);
      });
      const baseUrl = await Promise.race([
        address,
        late.catch((error: unknown) => rethrowUnlessAborted(error)),
      ]);
      return new ServiceProcess(baseUrl, child, () => output);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      limit.abort();
    }
  }

  /** Its output so far: the log, for the message of a failed test. */
  get log(): string {
    return this.output();
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves to the signal that ended it, or null if it ended by itself. */
  async ended(): Promise<NodeJS.Signals | null> {
    if (this.alive) await once(this.child, 'exit');
    return this.child.signalCode;
  }

  /** Resolves when its output says `text`. */
  async says(text: string): Promise<void> {
    while (!this.output().includes(text)) {
      if (!this.alive) throw new Error(`the service ended before it said "${text}":\n${this.log}`);
      await Promise.race([once(this.child.stdout!, 'data'), once(this.child, 'exit')]);
    }
  }

  /** Stops it as an operator does. A paused or stuck process is killed. */
  async stop(): Promise<void> {
    if (!this.alive) return;
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const limit = setTimeout(() => this.signal('SIGKILL'), STOP_LIMIT_MS);
    await this.ended();
    clearTimeout(limit);
  }

  /** Kills it at once, whatever it has in flight. */
  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended();
  }
}

function rethrowUnlessAborted(error: unknown): Promise<never> {
  if (error instanceof Error && error.name === 'AbortError') return new Promise(() => undefined);
  throw error;
}
