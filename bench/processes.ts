import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { cpuTimeUs } from './cpu-time.js';
import { runLoad, type LoadJob, type LoadResult } from './load.js';

export const HOST = '127.0.0.1';
const START_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 12_000;
const POLL_MS = 50;

/** Killed when this process exits, so that an interrupted bench leaves nothing listening. */
const children = new Set<ChildProcess>();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

/** Something that listens for HTTP on this machine, in a process of its own. */
export interface Server {
  port: number;
  pid: number;
  /** Whether its answers have `Idempotent-Replayed`; the references do not know the header. */
  saysReplayed: boolean;
  stop(): Promise<void>;
}

/**
 * Runs the load generator against a server, and reads how much CPU time the server took for each answer.
 * @param onWarm called when the measured time begins
 */
export async function loadServer(
  server: Server,
  job: Omit<LoadJob, 'port' | 'saysReplayed'>,
  onWarm?: () => void,
): Promise<LoadResult & { nodeUs: number }> {
  const { port, pid, saysReplayed } = server;
  let beforeUs = Number.NaN;
  const result = await runLoad({ ...job, port, saysReplayed }, () => {
    beforeUs = cpuTimeUs(pid);
    onWarm?.();
  });
  return { ...result, nodeUs: (cpuTimeUs(pid) - beforeUs) / result.answers };
}

export interface ServiceOptions {
  databaseUrl: string;
  dataDir: string;
  /** For Node itself, before the program. */
  nodeOptions?: readonly string[];
  /** The program to run, if not this build's own. */
  main?: string;
}

const OWN_MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));

/**
 * Hapax as `npm start` runs it, with every default, including the log level. Its log goes to /dev/null: the cost of
 * reading a log differs from place to place, but writing it is the service's own work and is measured.
 */
export async function startService({
  databaseUrl,
  dataDir,
  nodeOptions = [],
  main = OWN_MAIN,
}: ServiceOptions): Promise<Server> {
  const port = await freePort();
  const child = spawn(process.execPath, [...nodeOptions, '--enable-source-maps', main], {
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: databaseUrl,
      SANDBOX: 'true',
      DATA_DIR: dataDir,
      PORT: String(port),
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  children.add(child);
  const giveUpAt = Date.now() + START_LIMIT_MS;
  while (!(await isReady(port))) {
    if (child.exitCode !== null || Date.now() > giveUpAt) throw new Error('the service did not start');
    await sleep(POLL_MS);
  }
  return { port, pid: child.pid ?? 0, saysReplayed: true, stop: () => stop(child) };
}

/** A program of this folder that sends `{ port }` to its parent once it listens. */
export async function startReference(name: string, args: readonly string[] = []): Promise<Server> {
  const child = fork(fileURLToPath(new URL(`./references/${name}.process.js`, import.meta.url)), args);
  children.add(child);
  const message = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error(`${name} did not start`))),
  ]);
  const [{ port }] = message as [{ port: number }];
  return { port, pid: child.pid ?? 0, saysReplayed: false, stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const limit = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await exited;
  clearTimeout(limit);
  children.delete(child);
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://${HOST}:${port}/health/ready`)).ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, HOST);
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  return port;
}
