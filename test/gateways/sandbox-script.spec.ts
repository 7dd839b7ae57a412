import {
  parseSandboxScript,
  parseSandboxScriptText,
  SandboxScriptError,
} from '../../src/config/sandbox-script.js';
import { SandboxScriptRun } from '../../src/gateways/sandbox/sandbox-script-run.js';

const MANY = 10_000;

const EVERYTHING = {
  seed: 7,
  arrival_ms: [0, 50],
  latency_ms: [5, 100],
  faults: { refuse: 0.1, error_after: 0.1, silence_after: 0.2, reset_before: 0.1 },
  lookups: { latency_ms: 5, faults: { refuse: 0.5 } },
  notifications: { duplicate: 0.25, late: 0.25, late_ms: [10, 20], reorder: 0.25 },
};

function play(json: object, length = 200): unknown[] {
  const run = new SandboxScriptRun(parseSandboxScript(json));
  return Array.from({ length }, () => [run.nextCall('charge'), run.nextLookup(), run.nextNotification()]);
}

describe('a script', () => {
  it('repeats itself with the same seed, and differs with another', () => {
    expect(play(EVERYTHING)).toEqual(play(EVERYTHING));
    expect(play(EVERYTHING)).not.toEqual(play({ ...EVERYTHING, seed: 8 }));
  });

  it('causes each fault as often as it says', () => {
    const run = new SandboxScriptRun(parseSandboxScript(EVERYTHING));
    const faults = Array.from({ length: MANY }, () => run.nextCall('charge')?.fault ?? 'none');
    const share = (fault: string): number => faults.filter((seen) => seen === fault).length / MANY;
    expect(share('refuse')).toBeCloseTo(0.1, 1);
    expect(share('silence_after')).toBeCloseTo(0.2, 1);
    expect(share('none')).toBeCloseTo(0.5, 1);
    expect(share('error_before')).toBe(0);
  });

  it('does not change one fault when another is added', () => {
    const faultsOf = (json: object): unknown[] => {
      const run = new SandboxScriptRun(parseSandboxScript(json));
      return Array.from({ length: 100 }, () => run.nextCall('charge')?.fault);
    };
    expect(faultsOf({ seed: 3, faults: { refuse: 0.5 } })).toEqual(
      faultsOf({ seed: 3, faults: { refuse: 0.5 }, latency_ms: [0, 9], notifications: { late: 1 } }),
    );
  });

  it('applies to the calls that it names, and to as many as it says', () => {
    const run = new SandboxScriptRun(
      parseSandboxScript({ calls: ['refund'], next: 2, faults: { refuse: 1 } }),
    );
    expect(run.nextCall('charge')).toBeNull();
    expect(run.nextCall('refund')?.fault).toBe('refuse');
    expect(run.nextCall('refund')?.fault).toBe('refuse');
    expect(run.nextCall('refund')).toBeNull();
  });

  it('is rejected with every wrong field named', () => {
    const wrong = {
      seed: -1,
      calls: ['steal'],
      next: 0,
      latency_ms: [5, 1],
      faults: { refuse: 0.6, silence_after: 0.6 },
      lookups: { faults: { refuse: 2 } },
      notifications: { duplicate: 'often' },
      surprise: true,
    };
    let problems: readonly string[] = [];
    try {
      parseSandboxScript(wrong);
    } catch (error) {
      ({ problems } = error as SandboxScriptError);
    }
    for (const field of [
      'seed',
      'calls',
      'next',
      'latency_ms',
      'faults',
      'refuse',
      'duplicate',
      'surprise',
    ]) {
      expect(problems.join('\n')).toContain(field);
    }
    expect(() => parseSandboxScriptText('{')).toThrow(SandboxScriptError);
    expect(() => parseSandboxScriptText('[]')).toThrow(SandboxScriptError);
    expect(() =>
      parseSandboxScript({ faults: { refuse: 0.1, error_after: 0.2, reset_after: 0.7 } }),
    ).not.toThrow();
  });
});
