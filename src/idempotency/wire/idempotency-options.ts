import type { StringValue } from 'ms';

/**
 * What happens to a request without a key. `required`: it gets a 400. `derived`: we derive a key from the request.
 * `configured`: one of these two, as `IDEMPOTENCY_MISSING_KEY` says. `off`: keys are ignored.
 */
type KeyPolicy = 'required' | 'derived' | 'configured' | 'off';

export interface IdempotencyOptions {
  /** The name of the operation that the runner runs. */
  operation: string;
  /** Default `configured`. */
  policy?: KeyPolicy;
  /** How long the answer is kept, for example `48h`; default `IDEMPOTENCY_RETENTION`. */
  lifetime?: StringValue;
}

export const IDEMPOTENCY_OPTIONS = Symbol('IdempotencyOptions');
