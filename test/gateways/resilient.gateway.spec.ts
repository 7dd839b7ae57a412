import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import type { Finding, Outcome } from '../../src/domain/outcome.js';
import { Gateway, type ChargeRequest, type SentCall } from '../../src/gateways/gateway.js';
import { GatewayMetrics } from '../../src/gateways/gateway-metrics.js';
import { ResilientGateway, type ResilienceSettings } from '../../src/gateways/resilient.gateway.js';
import { Metrics } from '../../src/metrics/metrics.js';

const APPROVED: Outcome = { kind: 'approved', reference: 'ref_1' };
const DECLINED: Outcome = {
  kind: 'declined',
  failure: { code: 'card_declined', message: 'The card was declined.' },
};
const UNAVAILABLE: Outcome = { kind: 'unavailable' };
const UNKNOWN: Outcome = { kind: 'unknown' };

const REQUEST: ChargeRequest = {
  gatewayKey: '88b596ec-b22b-8e01-a768-e3b9cc09269e',
  ids: null,
  sentSince: new Date(),
  amountMinor: 1_999n,
  currency: 'EUR',
  paymentMethod: 'pm_card_visa',
  captureMethod: 'automatic',
};
const CALL: SentCall = { kind: 'charge', request: REQUEST };
const UNKNOWN_SINCE = new Date();
const LOST = { since: new Date(0), until: new Date() };
const KEY_TAKEN: Outcome = { kind: 'unknown', keyTaken: true };

type Step = Outcome | ((signal: AbortSignal) => Promise<Outcome>);

/** Plays one step per call, and repeats the last. */
class ScriptedGateway extends Gateway {
  readonly name = 'scripted';
  readonly keys: string[] = [];
  finding: Finding | ((signal: AbortSignal) => Promise<Finding>) = { kind: 'absent' };

  constructor(private readonly steps: Step[]) {
    super();
  }

  get calls(): number {
    return this.keys.length;
  }

  play(...steps: Step[]): void {
    this.steps.splice(0, this.steps.length, ...steps);
  }

  readonly charge = ({ gatewayKey }: { gatewayKey: string }, signal: AbortSignal): Promise<Outcome> => {
    this.keys.push(gatewayKey);
    const step = this.steps.length > 1 ? this.steps.shift() : this.steps[0];
    if (typeof step === 'function') return step(signal);
    return Promise.resolve(step ?? UNKNOWN);
  };

  readonly capture = this.charge;
  readonly cancel = this.charge;
  readonly refund = this.charge;

  inquire(_call: SentCall, _unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    return typeof this.finding === 'function' ? this.finding(signal) : Promise.resolve(this.finding);
  }

  readonly lookUp = (call: SentCall, _lost: unknown, signal: AbortSignal): Promise<Finding> =>
    this.inquire(call, UNKNOWN_SINCE, signal);
}

/** Never answers, or answers `outcome` when its signal aborts. */
function silence(outcome?: Outcome): Step {
  return (signal) =>
    new Promise((resolve) => {
      if (outcome) signal.addEventListener('abort', () => resolve(outcome));
    });
}

function guard(steps: Step[], settings: Partial<ResilienceSettings> = {}) {
  const inner = new ScriptedGateway(steps);
  const metrics = new Metrics();
  const all = { timeoutMs: 2_000, tryTimeoutMs: 500, maxTries: 3, maxConcurrent: 256, ...settings };
  const gateway = new ResilientGateway(inner, all, new GatewayMetrics(metrics));
  const deadline = new AbortController();
  return {
    inner,
    gateway,
    deadline,
    charge: () => gateway.charge(REQUEST, deadline.signal),
    metric: async (line: string) => {
      const text = await metrics.registry.metrics();
      return Number(
        text
          .split('\n')
          .find((each) => each.startsWith(`${line} `))
          ?.split(' ')
          .at(-1) ?? NaN,
      );
    },
  };
}

beforeAll(() => Logger.overrideLogger(false));

describe('the outcome of several tries', () => {
  test.each<[string, Step[], Outcome, number]>([
    ['an approval is not repeated', [APPROVED, UNKNOWN], APPROVED, 1],
    ['a decline is final', [DECLINED, APPROVED], DECLINED, 1],
    ['no effect, then approved', [UNAVAILABLE, APPROVED], APPROVED, 2],
    ['no effect three times is no effect', [UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, APPROVED], UNAVAILABLE, 3],
    ['unknown, then approved under the same key', [UNKNOWN, APPROVED], APPROVED, 2],
    ['unknown, then declined under the same key', [UNKNOWN, DECLINED], DECLINED, 2],
    ['unknown, then no effect: the first try is still open', [UNKNOWN, UNAVAILABLE], UNKNOWN, 3],
    ['no effect, unknown, no effect', [UNAVAILABLE, UNKNOWN, UNAVAILABLE], UNKNOWN, 3],
    ['unknown throughout', [UNKNOWN], UNKNOWN, 3],
  ])('%s', async (_name, steps, outcome, calls) => {
    const { charge, inner } = guard(steps);
    expect(await charge()).toEqual(outcome);
    expect(inner.keys).toEqual(Array.from({ length: calls }, () => REQUEST.gatewayKey));
  });

  it('is unknown if the gateway throws, because the money may have moved before that', async () => {
    const { charge } = guard([() => Promise.reject(new TypeError('a bug')), UNAVAILABLE]);
    expect(await charge()).toEqual(UNKNOWN);
  });
});

describe('time limits', () => {
  it('ends a try that takes too long, and learns the outcome from the next one', async () => {
    const { charge, inner } = guard([silence(UNKNOWN), APPROVED], { tryTimeoutMs: 60 });
    expect(await charge()).toEqual(APPROVED);
    expect(inner.calls).toBe(2);
  });

  it('believes a try that reports at its end that nothing was sent', async () => {
    const { charge } = guard([silence(UNAVAILABLE)], { tryTimeoutMs: 60, maxTries: 1 });
    expect(await charge()).toEqual(UNAVAILABLE);
  });

  it('stops listening to a gateway that ignores its signal', async () => {
    const { charge } = guard([silence()], { tryTimeoutMs: 60, maxTries: 1 });
    expect(await charge()).toEqual(UNKNOWN);
  });

  it('begins no try without enough time', async () => {
    const { charge, inner } = guard([silence(UNKNOWN), APPROVED], { tryTimeoutMs: 200, timeoutMs: 200 });
    expect(await charge()).toEqual(UNKNOWN);
    expect(inner.calls).toBe(1);
  });

  it("ends at the operation's deadline, during a try or between two", async () => {
    for (const [step, outcome] of [
      [silence(UNKNOWN), UNKNOWN],
      [UNAVAILABLE, UNAVAILABLE],
    ] as const) {
      const { charge, deadline, inner } = guard([step], { timeoutMs: 60_000, tryTimeoutMs: 60_000 });
      const answer = charge();
      deadline.abort();
      expect(await answer).toEqual(outcome);
      expect(inner.calls).toBe(1);
    }
  });

  it('sends nothing after the deadline', async () => {
    const { charge, deadline, inner } = guard([APPROVED]);
    deadline.abort();
    expect(await charge()).toEqual(UNAVAILABLE);
    expect(inner.calls).toBe(0);
  });
});

describe('the circuit breaker', () => {
  /** Enough failures to open the breaker. */
  async function open(guarded: ReturnType<typeof guard>): Promise<void> {
    for (let calls = 0; calls < 20; calls += 1) await guarded.charge();
  }

  it('answers "no effect" without a call while open, probes with one call, and closes when that succeeds', async () => {
    const guarded = guard([UNAVAILABLE], { maxTries: 1 });
    await open(guarded);
    expect(await guarded.metric('hapax_gateway_breaker_state{gateway="scripted",state="open"}')).toBe(1);
    expect(await guarded.charge()).toEqual(UNAVAILABLE);
    expect(guarded.inner.calls).toBe(20);
    expect(await guarded.metric('hapax_gateway_rejected_total{gateway="scripted",by="breaker"}')).toBe(1);

    let answerProbe = (_outcome: Outcome): void => undefined;
    guarded.inner.play(() => new Promise((resolve) => (answerProbe = resolve)));
    while (guarded.inner.calls === 20) {
      void guarded.charge();
      await sleep(50);
    }
    // Other calls do not wait for the probe's result.
    expect(await guarded.charge()).toEqual(UNAVAILABLE);
    expect(guarded.inner.calls).toBe(21);
    guarded.inner.play(APPROVED);
    answerProbe(DECLINED);
    await sleep(10);
    expect(await guarded.charge()).toEqual(APPROVED);
    expect(await guarded.metric('hapax_gateway_breaker_state{gateway="scripted",state="closed"}')).toBe(1);
  });

  it('never turns an open outcome into "no effect"', async () => {
    const guarded = guard([UNKNOWN], { maxTries: 3 });
    for (let calls = 0; calls < 6; calls += 1) await guarded.charge();
    expect(guarded.inner.calls).toBe(18);
    // This call's second try opens the breaker, so its third is held back.
    expect(await guarded.charge()).toEqual(UNKNOWN);
    expect(guarded.inner.calls).toBe(20);
    // The next call is never sent, so it surely had no effect.
    expect(await guarded.charge()).toEqual(UNAVAILABLE);
    expect(guarded.inner.calls).toBe(20);
  });

  it('counts declines as healthy', async () => {
    const guarded = guard([DECLINED]);
    for (let calls = 0; calls < 100; calls += 1) expect(await guarded.charge()).toEqual(DECLINED);
    expect(guarded.inner.calls).toBe(100);
  });

  it('sends no inquiry to a gateway that is down, and answers unknown', async () => {
    const guarded = guard([UNAVAILABLE], { maxTries: 1 });
    await open(guarded);
    expect(await guarded.gateway.inquire(CALL, UNKNOWN_SINCE, guarded.deadline.signal)).toEqual(UNKNOWN);
  });
});

describe('the bulkhead', () => {
  it('refuses calls beyond its slots and its queue, and runs the queued ones as slots free up', async () => {
    const answers: ((outcome: Outcome) => void)[] = [];
    const guarded = guard([() => new Promise((resolve) => answers.push(resolve))], {
      maxConcurrent: 2,
      tryTimeoutMs: 60_000,
      timeoutMs: 60_000,
    });
    const waiting = Array.from({ length: 10 }, () => guarded.charge());
    expect(await guarded.charge()).toEqual(UNAVAILABLE);
    expect(await guarded.metric('hapax_gateway_rejected_total{gateway="scripted",by="bulkhead"}')).toBe(1);
    expect(await guarded.metric('hapax_gateway_in_flight{gateway="scripted"}')).toBe(2);
    expect(await guarded.metric('hapax_gateway_queued{gateway="scripted"}')).toBe(8);
    while (guarded.inner.calls < 10 || answers.length > 0) {
      answers.shift()?.(APPROVED);
      await sleep(1);
    }
    expect(await Promise.all(waiting)).toEqual(waiting.map(() => APPROVED));
    expect(await guarded.metric('hapax_gateway_in_flight{gateway="scripted"}')).toBe(0);
  });

  it('answers "no effect" at once when the deadline passes while a call is queued', async () => {
    const guarded = guard([silence()], { maxConcurrent: 1, tryTimeoutMs: 60_000, timeoutMs: 60_000 });
    const first = new AbortController();
    const runs = guarded.gateway.charge(REQUEST, first.signal);
    const waits = guarded.charge();
    await sleep(10);
    guarded.deadline.abort();
    expect(await waits).toEqual(UNAVAILABLE);
    expect(guarded.inner.calls).toBe(1);
    first.abort();
    expect(await runs).toEqual(UNKNOWN);
  });
});

describe('an inquiry', () => {
  test.each<[Finding, Finding]>([
    [APPROVED, APPROVED],
    [DECLINED, DECLINED],
    [{ kind: 'absent' }, { kind: 'absent' }],
    [UNKNOWN, UNKNOWN],
    // An inquiry without effect does not mean that the call had none.
    [UNAVAILABLE, UNKNOWN],
    [KEY_TAKEN, KEY_TAKEN],
  ])('passes %j on as %j', async (inner, outer) => {
    const guarded = guard([APPROVED]);
    guarded.inner.finding = inner;
    expect(await guarded.gateway.inquire(CALL, UNKNOWN_SINCE, guarded.deadline.signal)).toEqual(outer);
  });

  it('is unknown when it takes too long', async () => {
    const guarded = guard([APPROVED], { tryTimeoutMs: 50 });
    guarded.inner.finding = () => new Promise(() => undefined);
    expect(await guarded.gateway.inquire(CALL, UNKNOWN_SINCE, guarded.deadline.signal)).toEqual(UNKNOWN);
  });
});

describe('a lookup before the first call', () => {
  test.each<Finding>([APPROVED, DECLINED, { kind: 'absent' }, UNKNOWN, UNAVAILABLE, KEY_TAKEN])(
    'passes %j on',
    async (finding) => {
      const guarded = guard([APPROVED]);
      guarded.inner.finding = finding;
      expect(await guarded.gateway.lookUp(CALL, LOST, guarded.deadline.signal)).toEqual(finding);
      expect(guarded.inner.calls).toBe(0);
    },
  );
});

it('does not try again after the gateway said that it has another call under the key', async () => {
  const guarded = guard([KEY_TAKEN, APPROVED]);
  expect(await guarded.charge()).toEqual(KEY_TAKEN);
  expect(guarded.inner.calls).toBe(1);
});

it('counts calls with their duration, and retries', async () => {
  const guarded = guard([UNAVAILABLE, APPROVED]);
  await guarded.charge();
  const labels = 'gateway="scripted",kind="charge",outcome="approved"';
  expect(await guarded.metric(`hapax_gateway_call_duration_seconds_count{${labels}}`)).toBe(1);
  expect(await guarded.metric('hapax_gateway_retries_total{gateway="scripted",kind="charge"}')).toBe(1);
});
