import fc from 'fast-check';
import { MAX_WAIT_SECONDS, readPreferWait } from '../../src/idempotency/wire/prefer.js';

describe('Prefer: wait (RFC 7240)', () => {
  it.each<[string | string[] | undefined, number | null]>([
    [undefined, null],
    ['', null],
    ['wait=10', 10],
    ['WAIT = 10', 10],
    ['wait="10"', 10],
    ['respond-async, wait=5', 5],
    ['return=minimal; foo="x", wait=5, wait=7', 5],
    [['return=minimal', 'wait=3'], 3],
    ['wait=31', MAX_WAIT_SECONDS],
    ['wait=999999999', MAX_WAIT_SECONDS],
    ['wait=0', 0],
    ['wait=-1', null],
    ['wait=1.5', null],
    ['wait=soon', null],
    ['wait', null],
    ['await=5', null],
  ])('%j means %j', (header, seconds) => {
    expect(readPreferWait(header)).toBe(seconds);
  });

  it('is only a wish: whatever is sent is ignored or is between 0 and the limit, and never an error', () => {
    const nearlyRight = fc.string({
      unit: fc.constantFrom('w', 'a', 'i', 't', '=', ',', ';', '"', '1', '9', ' '),
    });
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), nearlyRight), (header) => {
        const seconds = readPreferWait(header) ?? 0;
        expect(Number.isInteger(seconds) && seconds >= 0 && seconds <= MAX_WAIT_SECONDS).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
