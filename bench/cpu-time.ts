import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts a process's time in hundredths of a second, whatever the kernel's own clock. */
const TICK_US = 10_000;

interface ProcessTimes {
  parent: number;
  ownUs: number;
  /** Of children that have ended. */
  endedChildrenUs: number;
}

/** The CPU time of a process so far, all its threads included. NaN where there is no /proc. */
export function cpuTimeUs(pid: number): number {
  return readTimes(pid)?.ownUs ?? Number.NaN;
}

/** The CPU time of a process and its children so far, as PostgreSQL has one for each connection. NaN without /proc. */
export function familyCpuTimeUs(pid: number): number {
  const times = readTimes(pid);
  if (times === null) return Number.NaN;
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readTimes(Number(name)))
    .filter((child) => child?.parent === pid);
  return children.reduce((sum, child) => sum + (child?.ownUs ?? 0), times.ownUs + times.endedChildrenUs);
}

/** Null if there is no such process. */
function readTimes(pid: number): ProcessTimes | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in parentheses, and may hold spaces. `proc(5)` numbers the rest from 3.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const number = (field: number): number => Number(fields[field - 3]);
    return {
      parent: number(4),
      ownUs: (number(14) + number(15)) * TICK_US,
      endedChildrenUs: (number(16) + number(17)) * TICK_US,
    };
  } catch {
    return null;
  }
}
