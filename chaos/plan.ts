import type { Random } from './random.js';

export const TARGETS = ['service-1', 'service-2', 'gateway', 'postgres'] as const;
export type Target = (typeof TARGETS)[number];

/** One fault of a process: it is killed and later started again, or stopped and later woken. */
export interface Fault {
  /** How long it is left alone first. */
  afterMs: number;
  kind: 'kill' | 'stop';
  /** How long it sleeps, or the least time that it is down. */
  holdMs: number;
}

type RangeMs = readonly [number, number];

/** Faults of different processes overlap. PostgreSQL's are rarer, because they stop everything. */
const PEACE_MS: Readonly<Record<Target, RangeMs>> = {
  'service-1': [2_000, 8_000],
  'service-2': [2_000, 8_000],
  gateway: [2_500, 8_000],
  postgres: [7_000, 14_000],
};
const DOWN_MS: RangeMs = [0, 1_500];
/**
 * Often longer than a gateway call may take. A service often sleeps longer than its lease, and wakes to find its claims
 * taken. PostgreSQL sleeps for less time than a statement may take, so that its sleep does not end every connection.
 */
const ASLEEP_MS: Readonly<Record<Target, RangeMs>> = {
  'service-1': [300, 6_000],
  'service-2': [300, 6_000],
  gateway: [300, 4_000],
  postgres: [300, 3_000],
};

/** An endless sequence of faults for one process. The first two are one of each kind, so that a short run has both. */
export function* faultsOf(target: Target, seeded: Random): Generator<Fault, never> {
  const random = seeded.fork(`faults of ${target}`);
  const first = random.shuffled(['kill', 'stop'] as const);
  for (let n = 0; ; n += 1) {
    const kind = first[n] ?? random.pick(['kill', 'stop'] as const);
    yield {
      afterMs: random.between(...PEACE_MS[target]) / (n === 0 ? 2 : 1),
      kind,
      holdMs: random.between(...(kind === 'kill' ? DOWN_MS : ASLEEP_MS[target])),
    };
  }
}

/** How the gateway lies, and for how long. `script` is described in `docs/sandbox.md`. */
export interface Weather {
  name: string;
  lastsMs: number;
  script: object;
}

const WEATHERS = {
  fair: {},
  lost_answers: { faults: { silence_after: 0.12, reset_after: 0.12, error_after: 0.08 } },
  lost_requests: { faults: { silence_before: 0.1, reset_before: 0.12, error_before: 0.1, refuse: 0.1 } },
  refusing: { faults: { refuse: 0.35 } },
  slow: { latency_ms: [20, 1_500], arrival_ms: [0, 300] },
  late: { arrival_ms: [0, 3_500], faults: { reset_after: 0.05 } },
  mixed: {
    arrival_ms: [0, 150],
    latency_ms: [0, 250],
    faults: { refuse: 0.05, error_before: 0.04, error_after: 0.05, silence_after: 0.06, reset_after: 0.05 },
  },
} as const;

const LYING_LOOKUPS = {
  latency_ms: [0, 100],
  faults: { refuse: 0.15, error: 0.1, silence: 0.05, reset: 0.1 },
};

export function* weathers(seeded: Random): Generator<Weather, never> {
  const random = seeded.fork('weather');
  for (;;) {
    const name = random.weighted({
      fair: 3,
      lost_answers: 3,
      lost_requests: 2,
      refusing: 1,
      slow: 2,
      late: 2,
      mixed: 4,
    });
    yield {
      name,
      lastsMs: random.between(2_000, 6_000),
      script: {
        ...WEATHERS[name],
        seed: random.between(0, 2 ** 32 - 1),
        ...(random.chance(0.6) && { lookups: LYING_LOOKUPS }),
        notifications: { duplicate: 0.3, late: 0.3, late_ms: [200, 4_000], reorder: 0.2 },
      },
    };
  }
}

/** What customers pay with. The sandbox's faulty methods misbehave in any weather. */
export const PAYMENT_METHODS = {
  pm_card_visa: 56,
  pm_card_declined: 3,
  pm_card_insufficient_funds: 2,
  pm_card_expired: 2,
  pm_card_of_nobody: 2,
  pm_card_refund_declined: 5,
  pm_gateway_slow: 3,
  pm_gateway_unavailable: 3,
  pm_gateway_flaky: 6,
  pm_gateway_timeout_after_charge: 4,
  pm_gateway_timeout_before_charge: 4,
  pm_gateway_error_after_charge: 6,
} as const;

/** What a client does next, and how often. */
export const DEEDS = {
  charge: 30,
  end: 18,
  refund: 18,
  'charge and reverse': 7,
  'reverse before': 3,
  reverse: 6,
  'at both services': 8,
  'other body at once': 4,
  'other body later': 3,
  repeat: 10,
  read: 10,
} as const;
export type Deed = keyof typeof DEEDS;
