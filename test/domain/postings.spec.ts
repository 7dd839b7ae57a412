import fc from 'fast-check';
import { MAX_AMOUNT_MINOR, MIN_AMOUNT_MINOR } from '../../src/domain/money.js';
import { capturePostings, refundPostings, type Posting } from '../../src/domain/postings.js';

const AMOUNT = fc.bigInt({ min: MIN_AMOUNT_MINOR, max: MAX_AMOUNT_MINOR });

const byAccount = (postings: readonly Posting[]) =>
  Object.fromEntries(postings.map(({ account, amount }) => [account, amount]));

describe('postings', () => {
  it('of a capture: the gateway owes us, and we owe the merchant', () => {
    fc.assert(
      fc.property(AMOUNT, (amount) => {
        expect(byAccount(capturePostings(amount))).toEqual({
          gateway_receivable: amount,
          merchant_payable: -amount,
        });
      }),
    );
  });

  it('of a refund: the opposite, so that a capture and its refund leave nothing', () => {
    fc.assert(
      fc.property(AMOUNT, (amount) => {
        const postings = [...capturePostings(amount), ...refundPostings(amount)];
        for (const account of ['gateway_receivable', 'merchant_payable']) {
          const own = postings.filter((posting) => posting.account === account);
          expect(own.reduce((sum, posting) => sum + posting.amount, 0n)).toBe(0n);
        }
      }),
    );
  });

  it('sum to zero and have no empty side, whatever the amount', () => {
    fc.assert(
      fc.property(AMOUNT, fc.constantFrom(capturePostings, refundPostings), (amount, postingsOf) => {
        const postings = postingsOf(amount);
        expect(postings.reduce((sum, posting) => sum + posting.amount, 0n)).toBe(0n);
        expect(postings.every((posting) => posting.amount !== 0n)).toBe(true);
      }),
    );
  });

  it.each([0n, -1n])('of %s are refused', (amount) => {
    expect(() => capturePostings(amount)).toThrow(RangeError);
    expect(() => refundPostings(amount)).toThrow(RangeError);
  });
});
