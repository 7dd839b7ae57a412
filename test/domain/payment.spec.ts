import fc from 'fast-check';
import {
  nextStatus,
  PAYMENT_STATUSES,
  PAYMENT_TRANSITIONS,
  type PaymentStatus,
  type PaymentTransition,
} from '../../src/domain/payment.js';

const TRANSITIONS: readonly PaymentTransition[] = [
  'approve',
  'authorize',
  'decline',
  'capture',
  'cancel',
  'refund',
];
const TERMINAL: readonly PaymentStatus[] = ['failed', 'canceled'];

const status = fc.constantFrom(...PAYMENT_STATUSES);
const transition = fc.constantFrom(...TRANSITIONS);

/** Every state that a payment passes through. Impossible transitions are skipped, as the service refuses them. */
function walk(steps: readonly PaymentTransition[]): PaymentStatus[] {
  const states: PaymentStatus[] = ['pending'];
  for (const step of steps) states.push(nextStatus(states.at(-1)!, step) ?? states.at(-1)!);
  return states;
}

describe('the payment state machine', () => {
  it('is the one in the design, and nothing more', () => {
    expect(PAYMENT_TRANSITIONS).toEqual({
      pending: { approve: 'completed', authorize: 'authorized', decline: 'failed' },
      authorized: { capture: 'completed', cancel: 'canceled' },
      completed: { refund: 'completed' },
      failed: {},
      canceled: {},
    });
  });

  it('is total: any transition from any state leads to a state, or is refused', () => {
    fc.assert(
      fc.property(status, transition, (from, step) => {
        const to = nextStatus(from, step);
        expect([...PAYMENT_STATUSES, null]).toContain(to);
        expect(to).toBe(PAYMENT_TRANSITIONS[from][step] ?? null);
      }),
    );
  });

  it('never leaves a final state, whatever is tried', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TERMINAL), fc.array(transition), (final, steps) => {
        for (const step of steps) expect(nextStatus(final, step)).toBeNull();
      }),
    );
  });

  it('never returns to pending, and settles once: a payment that took the money never says that it did not', () => {
    fc.assert(
      fc.property(fc.array(transition, { maxLength: 20 }), (steps) => {
        const states = walk(steps);
        const changes = states.filter((state, index) => index > 0 && state !== states[index - 1]);
        expect(changes).not.toContain('pending');
        expect(new Set(changes).size).toBe(changes.length);
        const sinceCompleted = states.slice(states.indexOf('completed'));
        expect(!states.includes('completed') || sinceCompleted.every((state) => state === 'completed')).toBe(
          true,
        );
        expect(!states.includes('canceled') || states.includes('authorized')).toBe(true);
      }),
    );
  });
});
