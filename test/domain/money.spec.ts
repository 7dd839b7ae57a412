import fc from 'fast-check';
import { amountFromWire, amountToWire, MAX_AMOUNT_MINOR, MIN_AMOUNT_MINOR } from '../../src/domain/money.js';
import { capturePostings } from '../../src/domain/postings.js';

const LARGEST = BigInt(Number.MAX_SAFE_INTEGER);
const exact = fc.bigInt({ min: -LARGEST, max: LARGEST });
const amount = fc.bigInt({ min: MIN_AMOUNT_MINOR, max: MAX_AMOUNT_MINOR });

describe('money', () => {
  it('survives the wire exactly, as JSON', () => {
    fc.assert(
      fc.property(exact, (minor) => {
        const wire = JSON.parse(JSON.stringify(amountToWire(minor))) as number;
        expect(amountFromWire(wire)).toBe(minor);
      }),
    );
  });

  it('is written in digits only, never with an exponent or a point', () => {
    fc.assert(
      fc.property(amount, (minor) => expect(JSON.stringify(amountToWire(minor))).toBe(String(minor))),
    );
  });

  it('is never rounded: an amount that JSON cannot carry is an error', () => {
    const tooLarge = fc.bigInt({ min: LARGEST + 1n, max: LARGEST * LARGEST });
    fc.assert(
      fc.property(tooLarge, (minor) => {
        expect(() => amountToWire(minor)).toThrow(RangeError);
        expect(() => amountToWire(-minor)).toThrow(RangeError);
      }),
    );
  });

  it('is a whole number: any other number is an error', () => {
    const noAmount = fc.double().filter((number) => !Number.isSafeInteger(number));
    fc.assert(fc.property(noAmount, (wire) => expect(() => amountFromWire(wire)).toThrow(RangeError)));
  });

  it('moves in postings that sum to zero, whatever the amount', () => {
    fc.assert(
      fc.property(amount, (minor) => {
        const postings = capturePostings(minor);
        expect(postings.reduce((sum, posting) => sum + posting.amount, 0n)).toBe(0n);
        expect(postings).toEqual([
          { account: 'gateway_receivable', amount: minor },
          { account: 'merchant_payable', amount: -minor },
        ]);
      }),
    );
  });

  it('is not posted when nothing moves', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -LARGEST, max: 0n }), (minor) => {
        expect(() => capturePostings(minor)).toThrow(RangeError);
      }),
    );
  });
});
