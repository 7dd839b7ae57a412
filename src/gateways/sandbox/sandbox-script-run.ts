import {
  LOOKUP_FAULTS,
  SANDBOX_FAULTS,
  type Chances,
  type LookupFault,
  type RangeMs,
  type SandboxCallName,
  type SandboxFault,
  type SandboxScript,
} from '../../config/sandbox-script.js';

export interface CallPlan {
  arrivalMs: number;
  latencyMs: number;
  fault: SandboxFault | null;
}

interface LookupPlan {
  latencyMs: number;
  fault: LookupFault | null;
}

interface NotificationDraw {
  duplicate: boolean;
  lateMs: number;
  reorder: boolean;
}

/** What a draw is for. Each has its own sequence, so adding one fault does not move the others. */
const FACETS = [
  'arrival',
  'latency',
  'fault',
  'lookup latency',
  'lookup fault',
  'duplicate',
  'late',
  'late by',
  'reorder',
] as const;
type Facet = (typeof FACETS)[number];

/**
 * Plays a script. Each draw depends only on the seed and the number of the call, so the same calls in the same order
 * meet the same faults, whatever the clock and the keys.
 */
export class SandboxScriptRun {
  private callsSeen = 0;
  private lookupsSeen = 0;
  private notificationsSeen = 0;

  constructor(readonly script: SandboxScript) {}

  /** Null for a call that the script does not apply to. */
  nextCall(name: SandboxCallName): CallPlan | null {
    const { seed, calls, next, arrivalMs, latencyMs, faults } = this.script;
    if (!calls.includes(name) || this.callsSeen === next) return null;
    this.callsSeen += 1;
    const n = this.callsSeen;
    return {
      arrivalMs: within(arrivalMs, draw(seed, n, 'arrival')),
      latencyMs: within(latencyMs, draw(seed, n, 'latency')),
      fault: pick(SANDBOX_FAULTS, faults, draw(seed, n, 'fault')),
    };
  }

  nextLookup(): LookupPlan {
    const { seed, lookups } = this.script;
    this.lookupsSeen += 1;
    const n = this.lookupsSeen;
    return {
      latencyMs: within(lookups.latencyMs, draw(seed, n, 'lookup latency')),
      fault: pick(LOOKUP_FAULTS, lookups.faults, draw(seed, n, 'lookup fault')),
    };
  }

  nextNotification(): NotificationDraw {
    const { seed, notifications } = this.script;
    this.notificationsSeen += 1;
    const n = this.notificationsSeen;
    const late = draw(seed, n, 'late') < notifications.late;
    return {
      duplicate: draw(seed, n, 'duplicate') < notifications.duplicate,
      lateMs: late ? within(notifications.lateMs, draw(seed, n, 'late by')) : 0,
      reorder: draw(seed, n, 'reorder') < notifications.reorder,
    };
  }

  /** How many of each have been drawn. */
  seen(): { calls: number; lookups: number; notifications: number } {
    return { calls: this.callsSeen, lookups: this.lookupsSeen, notifications: this.notificationsSeen };
  }
}

function within([from, to]: RangeMs, drawn: number): number {
  return Math.round(from + drawn * (to - from));
}

function pick<Fault extends string>(
  faults: readonly Fault[],
  chances: Chances<Fault>,
  drawn: number,
): Fault | null {
  let end = 0;
  for (const fault of faults) {
    end += chances[fault] ?? 0;
    if (drawn < end) return fault;
  }
  return null;
}

/** A number from 0 up to 1 that depends on every bit of its arguments, and on nothing else. */
function draw(seed: number, n: number, facet: Facet): number {
  return scramble(scramble(scramble(seed) ^ n) ^ FACETS.indexOf(facet)) / 2 ** 32;
}

/** A bijection of 32-bit numbers whose every output bit depends on every input bit. */
function scramble(value: number): number {
  let bits = (value + 0x9e3779b9) | 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x21f0aaad);
  bits = Math.imul(bits ^ (bits >>> 15), 0x735a2d97);
  return (bits ^ (bits >>> 15)) >>> 0;
}
