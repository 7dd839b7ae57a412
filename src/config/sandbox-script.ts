/** A script says how the sandbox provider misbehaves on purpose. This file defines what it may say, and reads it. */

const SANDBOX_CALLS = ['charge', 'capture', 'void', 'refund'] as const;
export type SandboxCallName = (typeof SANDBOX_CALLS)[number];

/**
 * `refuse` answers 503 and has no effect. The others act `before` the call's effect, which then never comes, or `after`
 * it: `error` answers 500, `silence` never answers, `reset` closes the connection.
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

export type Chances<Fault extends string> = Readonly<Partial<Record<Fault, number>>>;

export interface SandboxScript {
  readonly seed: number;
  /** The calls it applies to. */
  readonly calls: readonly SandboxCallName[];
  /** It applies to this many of them; null for all. */
  readonly next: number | null;
  /** How long a call travels before the provider acts on it. Its client may have given up by then. */
  readonly arrivalMs: RangeMs;
  /** How long the answer takes after that. */
  readonly latencyMs: RangeMs;
  readonly faults: Chances<SandboxFault>;
  readonly lookups: { readonly latencyMs: RangeMs; readonly faults: Chances<LookupFault> };
  readonly notifications: {
    readonly duplicate: number;
    readonly late: number;
    readonly lateMs: RangeMs;
    /** The chance that a notification waits until the next one is sent. */
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

const MAX_DELAY_MS = 3_600_000;
const MAX_SEED = 2 ** 32 - 1;
const NO_DELAY: RangeMs = [0, 0];
const DEFAULT_LATE_MS: RangeMs = [500, 5_000];

/**
 * Reads a script from parsed JSON. Every field may be left out.
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

/** Reads a script from JSON text. @throws SandboxScriptError */
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

  /** A single number is a range from itself to itself. */
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

  /** A call meets at most one fault, so the chances must not add up to more than 1. */
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
