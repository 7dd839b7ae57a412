import type { PaymentFailure } from './payment.js';

/**
 * What a gateway said to a call. `declined` is final. `unavailable` means that this very call surely had no effect, so
 * the client may simply retry. It says nothing about an earlier call with the same key, whose outcome stays as it was.
 * `unknown` means that there may be an effect: only another inquiry or call can change it.
 */
export type Outcome =
  | { kind: 'approved'; reference: string }
  | { kind: 'declined'; failure: PaymentFailure }
  | { kind: 'unavailable' }
  /** `keyTaken`: the gateway has another call under our key, so this one is never absent, whatever it says later. */
  | { kind: 'unknown'; keyTaken?: true };

/** An outcome that never changes, so we may settle it. */
export type FinalOutcome = Extract<Outcome, { kind: 'approved' | 'declined' }>;

/** The calls that a database forgot when it lost its tail were sent in this time. */
export interface LostTail {
  since: Date;
  until: Date;
}

/** What a gateway said to an inquiry. `absent`: it has no trace of the call, and will refuse it if it still arrives. */
export type Finding = Outcome | { kind: 'absent' };
