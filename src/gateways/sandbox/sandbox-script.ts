/**
 * How the sandbox provider misbehaves on purpose. Everything is drawn from the seed and the number of the call, so
 * that the same calls in the same order meet the same faults, whatever the clock and the keys.
 */

export const SANDBOX_CALLS = ['charge', 'capture', 'void', 'refund'] as const;
export type SandboxCallName = (typeof SANDBOX_CALLS)[number];

/**
 * `refuse`: 503 before any effect. The others come `before` the call had its effect, which it then never has, or
 * `after` it: `error` answers 500, `silence` never answers, `reset` closes the connection.
 */
export const SANDBOX_FAULTS = [
  'refuse',
  'error_before',
  'error_after',
  'silence_before',
  'silence_after',
  'reset_before',
  'reset_after',
] as const;
export type SandboxFault = (typeof SANDBOX_FAULTS)[number];

export const LOOKUP_FAULTS = ['refuse', 'error', 'silence', 'reset'] as const;
export type LookupFault = (typeof LOOKUP_FAULTS)[number];

/** From and to, in milliseconds, both included. */
export type RangeMs = readonly [number, number];

type Chances<Fault extends string> = Readonly<Partial<Record<Fault, number>>>;

export interface SandboxScript {
  readonly seed: number;
  /** Which calls it is about. */
  readonly calls: readonly SandboxCallName[];
  /** For so many of them; null for all that come. */
  readonly next: number | null;
  /** How long a call is on its way before the provider acts on it; its client may have given up by then. */
  readonly arrivalMs: RangeMs;
  /** How long the answer takes after that. */
  readonly latencyMs: RangeMs;
  readonly faults: Chances<SandboxFault>;
  readonly lookups: { readonly latencyMs: RangeMs; readonly faults: Chances<LookupFault> };
  readonly notifications: {
    readonly duplicate: number;
    readonly late: number;
    readonly lateMs: RangeMs;
    /** The chance that a notification waits for the one after it. */
    readonly reorder: number;
  };
}

/** Every wrong field of a script. */
export class SandboxScriptError extends Error {
  override readonly name = 'SandboxScriptError';

  constructor(readonly problems: readonly string[]) {
    super(problems.join('; '));
  }
}

export interface CallPlan {
  arrivalMs: number;
  latencyMs: number;
  fault: SandboxFault | null;
}

export interface LookupPlan {
  latencyMs: number;
  fault: LookupFault | null;
}

export interface NotificationDraw {
  duplicate: boolean;
  lateMs: number;
  reorder: boolean;
}

const MAX_DELAY_MS = 3_600_000;
const MAX_SEED = 2 ** 32 - 1;
const NO_DELAY: RangeMs = [0, 0];
const DEFAULT_LATE_MS: RangeMs = [500, 5_000];

/** What a draw is for: each has a sequence of its own, so that adding one fault does not move the others. */
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

/** A script being played: counts what it has been asked for. */
export class SandboxScriptRun {
  private callsSeen = 0;
  private lookupsSeen = 0;
  private notificationsSeen = 0;

  constructor(readonly script: SandboxScript) {}

  /** Null for a call that the script is not about. */
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

  /** How often it was asked for each. */
  seen(): { calls: number; lookups: number; notifications: number } {
    return { calls: this.callsSeen, lookups: this.lookupsSeen, notifications: this.notificationsSeen };
  }
}

/**
 * Reads a script as it is written in JSON; every field may be left out.
 * @throws SandboxScriptError naming every wrong field.
 */
export function parseSandboxScript(json: unknown): SandboxScript {
  const read = new ScriptReader();
  const script = read.object(json, 'the script', [
    'seed',
    'calls',
    'next',
    'arrival_ms',
    'latency_ms',
    'faults',
    'lookups',
    'notifications',
  ]);
  const lookups = read.object(script['lookups'], 'lookups', ['latency_ms', 'faults']);
  const told = read.object(script['notifications'], 'notifications', [
    'duplicate',
    'late',
    'late_ms',
    'reorder',
  ]);
  const parsed: SandboxScript = {
    seed: read.integer(script['seed'], 'seed', 0, MAX_SEED) ?? 0,
    calls: read.calls(script['calls']),
    next: read.integer(script['next'], 'next', 1, Number.MAX_SAFE_INTEGER),
    arrivalMs: read.rangeMs(script['arrival_ms'], 'arrival_ms', NO_DELAY),
    latencyMs: read.rangeMs(script['latency_ms'], 'latency_ms', NO_DELAY),
    faults: read.chances(script['faults'], 'faults', SANDBOX_FAULTS),
    lookups: {
      latencyMs: read.rangeMs(lookups['latency_ms'], 'lookups.latency_ms', NO_DELAY),
      faults: read.chances(lookups['faults'], 'lookups.faults', LOOKUP_FAULTS),
    },
    notifications: {
      duplicate: read.chance(told['duplicate'], 'notifications.duplicate'),
      late: read.chance(told['late'], 'notifications.late'),
      lateMs: read.rangeMs(told['late_ms'], 'notifications.late_ms', DEFAULT_LATE_MS),
      reorder: read.chance(told['reorder'], 'notifications.reorder'),
    },
  };
  if (read.problems.length > 0) throw new SandboxScriptError(read.problems);
  return parsed;
}

/** A script as it is written in JSON. @throws SandboxScriptError */
export function parseSandboxScriptText(text: string): SandboxScript {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new SandboxScriptError(['the script is not JSON']);
  }
  return parseSandboxScript(json);
}

class ScriptReader {
  readonly problems: string[] = [];

  object(value: unknown, name: string, fields: readonly string[]): Record<string, unknown> {
    if (value === undefined) return {};
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.problems.push(`${name} must be an object`);
      return {};
    }
    for (const field of Object.keys(value)) {
      if (!fields.includes(field)) this.problems.push(`${name} has no field ${field}: ${fields.join(', ')}`);
    }
    return value as Record<string, unknown>;
  }

  integer(value: unknown, name: string, min: number, max: number): number | null {
    if (value === undefined || value === null) return null;
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max)
      return value as number;
    this.problems.push(`${name} must be a whole number from ${min} to ${max}`);
    return null;
  }

  calls(value: unknown): readonly SandboxCallName[] {
    if (value === undefined) return SANDBOX_CALLS;
    if (Array.isArray(value) && value.every((name) => SANDBOX_CALLS.includes(name as SandboxCallName))) {
      return value as SandboxCallName[];
    }
    this.problems.push(`calls must be a list of ${SANDBOX_CALLS.join(', ')}`);
    return SANDBOX_CALLS;
  }

  /** A number stands for a range of one. */
  rangeMs(value: unknown, name: string, fallback: RangeMs): RangeMs {
    if (value === undefined) return fallback;
    const [from, to, ...rest] = Array.isArray(value) ? (value as unknown[]) : [value, value];
    if (isDelay(from) && isDelay(to) && from <= to && rest.length === 0) return [from, to];
    this.problems.push(`${name} must be milliseconds up to ${MAX_DELAY_MS}, or a pair of them`);
    return fallback;
  }

  chance(value: unknown, name: string): number {
    if (value === undefined) return 0;
    if (typeof value === 'number' && value >= 0 && value <= 1) return value;
    this.problems.push(`${name} must be a chance from 0 to 1`);
    return 0;
  }

  /** At most one fault happens to a call, so that their chances add up to at most 1. */
  chances<Fault extends string>(value: unknown, name: string, faults: readonly Fault[]): Chances<Fault> {
    const given = this.object(value, name, faults);
    const chances = Object.fromEntries(
      faults.flatMap((fault) =>
        given[fault] === undefined ? [] : [[fault, this.chance(given[fault], `${name}.${fault}`)]],
      ),
    ) as Partial<Record<Fault, number>>;
    const sum = Object.values<number | undefined>(chances).reduce<number>(
      (total, chance) => total + (chance ?? 0),
      0,
    );
    // A sum such as 0.1 + 0.2 + 0.7 may miss 1 by its last bit.
    if (sum > 1 + Number.EPSILON * faults.length) this.problems.push(`${name} add up to more than 1`);
    return chances;
  }
}

function isDelay(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= MAX_DELAY_MS;
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

/** A number from 0 up to 1 that depends on nothing but its arguments, and on each bit of them. */
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
