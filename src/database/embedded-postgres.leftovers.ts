import { spawnSync } from 'node:child_process';
import { readlink, realpath, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  isAlive,
  readIfExists,
  readPostmasterPid,
  type embeddedPostgresFiles,
} from './embedded-postgres.files.js';
import { STOP_STEPS } from './embedded-postgres.programs.js';

const POLL_MS = 20;

/**
 * Stops a server whose supervisor was killed, and removes the `postmaster.pid` of one that is gone. Only for who holds
 * the folder's lock: then a server that still runs is nobody's.
 */
export async function removeLeftovers(files: ReturnType<typeof embeddedPostgresFiles>): Promise<void> {
  const postmaster = await readPostmasterPid(files.postmasterPid);
  if (postmaster !== null && (await servesCluster(postmaster.pid, files.cluster))) {
    for (const [signal, limitMs] of STOP_STEPS) {
      kill(postmaster.pid, signal);
      if (await diesWithin(postmaster.pid, limitMs)) break;
    }
  }
  // Its number may by now be any other process's, which would make PostgreSQL refuse to start.
  await rm(files.postmasterPid, { force: true });
}

/** Whether the process of that number is still the server of this cluster, and not one that got the number later. */
async function servesCluster(pid: number, cluster: string): Promise<boolean> {
  if (!isAlive(pid)) return false;
  if (process.platform !== 'linux') {
    const { stdout } = spawnSync('ps', ['-p', String(pid), '-o', 'args='], { encoding: 'utf8' });
    return stdout?.includes(cluster) ?? false;
  }
  // A postmaster works inside its data folder. What we may not look at belongs to another user, so it is not ours.
  const workingFolder = await readlink(`/proc/${pid}/cwd`).catch(() => null);
  return (
    workingFolder === (await realpath(cluster)) &&
    (await readIfExists(`/proc/${pid}/comm`))?.trim() === 'postgres'
  );
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself in between.
  }
}

async function diesWithin(pid: number, limitMs: number): Promise<boolean> {
  const giveUpAt = Date.now() + limitMs;
  while (isAlive(pid) && Date.now() < giveUpAt) await sleep(POLL_MS);
  return !isAlive(pid);
}
