import fc from 'fast-check';
import { ReplayCache } from '../../src/idempotency/replay-cache.js';
import { identityOf } from '../../src/idempotency/scoped-key.js';

const MERCHANT = '00000000-0000-7000-8000-00000000000a';
const NOW = 1_000;
const MEBIBYTE = 1_024 * 1_024;
const MAX_ANSWERS = 50_000;
const MAX_MEBIBYTES = 64;

const keyOf = (index: number) => ({ merchantId: MERCHANT, idempotencyKey: `key-${index}` });
const answerOf = (body: string, expiresAtMs = NOW + 1) => ({
  fingerprint: 'v1:one',
  answer: { status: 201, contentType: 'application/json', location: null, body },
  expiresAtMs,
});

describe('the replay cache', () => {
  it('returns exactly what was put under a merchant’s key, and nothing under any other', () => {
    const merchants = fc.uuid();
    const keys = fc.string({ minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(merchants, keys, merchants, keys, (merchantId, idempotencyKey, otherMerchant, otherKey) => {
        fc.pre(merchantId !== otherMerchant || idempotencyKey !== otherKey);
        const cache = new ReplayCache();
        const put = answerOf('{}');
        cache.put({ merchantId, idempotencyKey }, put);
        expect(cache.get({ merchantId, idempotencyKey }, NOW)).toBe(put);
        const other = { merchantId: otherMerchant, idempotencyKey: otherKey };
        expect(identityOf(other)).not.toBe(identityOf({ merchantId, idempotencyKey }));
        expect(cache.get(other, NOW)).toBeUndefined();
      }),
      // Each run makes a new cache, and a cache allocates all its space at once.
      { numRuns: 20 },
    );
  });

  it('remembers which request got an answer, unless another answer is cached', () => {
    const cache = new ReplayCache();
    const request = { digest: 'of these bytes', neededScopes: [] };
    const put = answerOf('{}');
    cache.put(keyOf(1), put);
    cache.answered(keyOf(1), { ...put.answer, status: 202 }, request);
    cache.answered(keyOf(1), { ...put.answer, body: '{"status":"pending"}' }, request);
    cache.answered(keyOf(2), put.answer, request);
    expect(cache.get(keyOf(1), NOW)?.request).toBeUndefined();
    expect(cache.get(keyOf(2), NOW)).toBeUndefined();
    cache.answered(keyOf(1), put.answer, request);
    expect(cache.get(keyOf(1), NOW)?.request).toBe(request);
    cache.put(keyOf(1), answerOf('{}'));
    expect(cache.get(keyOf(1), NOW)?.request).toBeUndefined();
  });

  it('forgets an answer when its lifetime ends', () => {
    const cache = new ReplayCache();
    cache.put(keyOf(1), answerOf('{}', NOW));
    expect(cache.get(keyOf(1), NOW - 1)).toBeDefined();
    expect(cache.get(keyOf(1), NOW)).toBeUndefined();
  });

  it('holds at most 50 000 answers, and keeps the newest', () => {
    const cache = new ReplayCache();
    const puts = MAX_ANSWERS + 1_000;
    for (let index = 0; index < puts; index += 1) cache.put(keyOf(index), answerOf('{}'));
    const kept = Array.from({ length: puts }, (_, index) => cache.get(keyOf(index), NOW) !== undefined);
    expect(kept.filter(Boolean)).toHaveLength(MAX_ANSWERS);
    expect(kept.lastIndexOf(false)).toBe(puts - MAX_ANSWERS - 1);
  });

  it('holds at most 64 MiB, and keeps the newest', () => {
    const cache = new ReplayCache();
    // A character may take two bytes.
    const body = 'x'.repeat(MEBIBYTE / 2);
    for (let index = 0; index < 2 * MAX_MEBIBYTES; index += 1) cache.put(keyOf(index), answerOf(body));
    const kept = Array.from(
      { length: 2 * MAX_MEBIBYTES },
      (_, index) => cache.get(keyOf(index), NOW) !== undefined,
    );
    expect(kept.filter(Boolean).length).toBeLessThanOrEqual(MAX_MEBIBYTES);
    expect(kept.filter(Boolean).length).toBeGreaterThan(MAX_MEBIBYTES - 2);
    expect(kept.at(-1)).toBe(true);
  });
});
