import { loadConfig } from '../../src/config/load-config.js';
import {
  judge,
  readRetryAfter,
  waitOfOthers,
  type TryResult,
} from '../../src/webhooks/delivery/webhook-schedule.js';

const { webhooks } = loadConfig({});
const HOUR_MS = 3_600_000;
const NOW = new Date('2026-11-24T06:00:00Z');

function answered(responseStatus: number | null, retryAfterMs: number | null = null): TryResult {
  return {
    responseStatus,
    responseBody: null,
    error: responseStatus === null ? 'timeout' : null,
    retryAfterMs,
  };
}

describe('the schedule of tries', () => {
  it.each([
    [200, 'delivered'],
    [204, 'delivered'],
    [299, 'delivered'],
    [199, 'retry'],
    [301, 'retry'],
    [304, 'retry'],
    [400, 'retry'],
    [404, 'retry'],
    [410, 'gone'],
    [429, 'retry'],
    [500, 'retry'],
    [null, 'retry'],
  ])('an answer %s means: %s', (code, kind) => {
    expect(judge(answered(code), 0, webhooks).kind).toBe(kind);
  });

  it("spreads the specification's pauses over three days, each up to a tenth longer", () => {
    const pauses = (random: () => number) =>
      webhooks.retryPausesMs.map((_pause, index) => {
        const verdict = judge(answered(500), index, webhooks, random);
        return verdict.kind === 'retry' ? verdict.delayMs : 0;
      });
    const exact = [5_000, 300_000, 1_800_000, ...[2, 5, 10, 14, 20, 24].map((hours) => hours * HOUR_MS)];
    expect(pauses(() => 0)).toEqual(exact);
    expect(pauses(() => 1)).toEqual(exact.map((pause) => expect.closeTo(pause * 1.1)));
    expect(exact.reduce((sum, pause) => sum + pause)).toBeGreaterThan(3 * 24 * HOUR_MS);
    expect(judge(answered(500), exact.length, webhooks)).toEqual({ kind: 'failed', pauseMs: null });
  });

  it('never retries before the Retry-After, but caps it at a day', () => {
    const exact = () => 0;
    expect(judge(answered(429, 60_000), 0, webhooks, exact)).toEqual({
      kind: 'retry',
      delayMs: 60_000,
      pauseMs: 60_000,
    });
    expect(judge(answered(503, 1_000), 0, webhooks, exact)).toMatchObject({ delayMs: 5_000, pauseMs: 1_000 });
    expect(judge(answered(429, 1_000 * HOUR_MS), 0, webhooks, exact)).toMatchObject({
      delayMs: 24 * HOUR_MS,
    });
  });

  it.each([
    ['120', 120_000],
    [' 5 ', 5_000],
    ['Tue, 24 Nov 2026 06:01:00 GMT', 60_000],
    ['Tue, 24 Nov 2026 05:00:00 GMT', null],
    ['0', null],
    ['-5', null],
    ['soon', null],
    ['99999999999999999999', null],
    [undefined, null],
  ])('reads Retry-After: %s', (header, ms) => {
    expect(readRetryAfter(header, NOW)).toBe(ms);
  });

  it('makes deliveries wait longer the longer their endpoint has been failing, within limits', () => {
    expect(waitOfOthers(60_000, () => 0)).toBe(30_000);
    expect(waitOfOthers(HOUR_MS, () => 0)).toBe(HOUR_MS / 4);
    expect(waitOfOthers(100 * HOUR_MS, () => 1)).toBe(1.5 * HOUR_MS);
  });
});

describe('the configuration of webhooks', () => {
  it('reads pauses with their units', () => {
    const { webhooks: configured } = loadConfig({ WEBHOOK_RETRY_PAUSES: '1s, 2m,3h', WEBHOOK_TIMEOUT: '2s' });
    expect(configured).toMatchObject({ retryPausesMs: [1_000, 120_000, 10_800_000], tryTimeoutMs: 2_000 });
  });

  it.each([
    ['WEBHOOK_RETRY_PAUSES', '5s,soon'],
    ['WEBHOOK_RETRY_PAUSES', '5'],
    ['WEBHOOK_RETRY_PAUSES', Array<string>(21).fill('1s').join(',')],
    ['WEBHOOK_TIMEOUT', '15'],
    ['WEBHOOK_TIMEOUT', '0s'],
    ['WEBHOOK_RETENTION', 'for ever'],
  ])('refuses %s=%s', (name, value) => {
    expect(() => loadConfig({ [name]: value })).toThrow(name);
  });
});
