import type { PaymentFailure } from './payment.js';

/**
 * What a gateway said to a call. `declined` is final. `unavailable` means that this very call surely had no effect, so
 * the client may simply retry. It says nothing about an earlier call with the same key, whose outcome stays as it was.
 * `unknown` means that there may be an effect: only asking again can turn it into anything else.
 */
export type Outcome =
  | { kind: 'approved'; reference: string }
  | { kind: 'declined'; failure: PaymentFailure }
  | { kind: 'unavailable' }
  | { kind: 'unknown' };

/** An outcome that never changes, so that it may be settled. */
export type FinalOutcome = Extract<Outcome, { kind: 'approved' | 'declined' }>;

/** What a gateway said to an inquiry. `absent`: it has no trace of the call, and would refuse it should it still arrive. */
export type Finding = Outcome | { kind: 'absent' };
