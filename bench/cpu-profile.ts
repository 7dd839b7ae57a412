import { readFile } from 'node:fs/promises';
import { markdown } from './report.js';

interface CpuProfile {
  nodes: ProfileNode[];
  startTime: number;
  samples: number[];
  timeDeltas: number[];
}

interface ProfileNode {
  id: number;
  callFrame: { functionName: string; url: string; lineNumber: number };
  children?: number[];
}

const PACKAGE = /node_modules\/((?:@[^/]+\/)?[^/]+)\//g;
const ROOM = /\/dist\/(src\/[^/]+|bench|migrations)\//;
const TOP_FUNCTIONS = 30;
const IDLE = 'idle';

/**
 * Self time by package, room of ours and part of Node, as shares of the busy time between `fromUs` and `toUs`. Both are
 * on the monotonic clock, as the profile is. A built-in function such as JSON.parse counts for its caller.
 */
export async function summarizeProfile(path: string, fromUs: number, toUs: number): Promise<string> {
  const profile = JSON.parse(await readFile(path, 'utf8')) as CpuProfile;
  const areaOf = areas(profile.nodes);
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const byArea = new Map<string, number>();
  const byFunction = new Map<string, number>();
  let total = 0;
  let idle = 0;
  let nowUs = profile.startTime;
  profile.samples.forEach((id, index) => {
    const deltaUs = profile.timeDeltas[index] ?? 0;
    nowUs += deltaUs;
    const node = nodes.get(id);
    if (node === undefined || nowUs < fromUs || nowUs > toUs) return;
    const area = areaOf.get(id) ?? 'other';
    if (area === IDLE) {
      idle += deltaUs;
      return;
    }
    total += deltaUs;
    byArea.set(area, (byArea.get(area) ?? 0) + deltaUs);
    const { functionName } = node.callFrame;
    const name = functionName.startsWith('(') ? functionName : `${area}: ${functionName || '(anonymous)'}`;
    byFunction.set(name, (byFunction.get(name) ?? 0) + deltaUs);
  });
  if (total === 0) throw new Error('the profile has no samples of the measured time');
  return [
    `The event loop waited for ${((idle / (total + idle)) * 100).toFixed(0)} % of the time. Of the rest:`,
    '',
    shares('area', byArea, total, byArea.size),
    '',
    shares(`function (the first ${TOP_FUNCTIONS})`, byFunction, total, TOP_FUNCTIONS),
  ].join('\n');
}

function areas(nodes: readonly ProfileNode[]): Map<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const areaOf = new Map<number, string>();
  const [root] = nodes;
  const stack = root ? [{ id: root.id, callers: 'node: native' }] : [];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const node = byId.get(next.id);
    if (node === undefined) continue;
    const area = areaOfFrame(node.callFrame) ?? next.callers;
    areaOf.set(node.id, area);
    for (const child of node.children ?? []) stack.push({ id: child, callers: area });
  }
  return areaOf;
}

/** Null for a function without a file of its own, such as a built-in. */
function areaOfFrame({ functionName, url }: ProfileNode['callFrame']): string | null {
  switch (functionName) {
    case '(garbage collector)':
      return 'garbage collection';
    case '(program)':
      return 'node: native';
    case '(idle)':
      return IDLE;
  }
  if (url === '') return null;
  if (url.startsWith('node:')) return nodeArea(url);
  const packageName = [...url.matchAll(PACKAGE)].at(-1)?.[1];
  if (packageName !== undefined) return packageName;
  return ROOM.exec(url)?.[1] ?? 'other';
}

function nodeArea(url: string): string {
  if (/http/.test(url)) return 'node: http';
  if (/net|stream|tcp/.test(url)) return 'node: net and streams';
  if (/crypto/.test(url)) return 'node: crypto';
  if (/async|promise|timer|task_queue|event/.test(url)) return 'node: events and timers';
  return 'node: other';
}

function shares(title: string, byName: ReadonlyMap<string, number>, total: number, count: number): string {
  const sorted = [...byName].toSorted(([, a], [, b]) => b - a).slice(0, count);
  return markdown([
    [title, 'self time'],
    ...sorted.map(([name, us]) => [name, `${((us / total) * 100).toFixed(1)} %`]),
  ]);
}
