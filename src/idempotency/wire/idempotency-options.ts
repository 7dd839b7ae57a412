import type { StringValue } from 'ms';

/**
 * What a route wants of a key. `required`: none means 400. `derived`: none means that one is derived from the request.
 * `configured`: as `IDEMPOTENCY_MISSING_KEY` says, one of the two. `off`: keys are not looked at.
 */
export type KeyPolicy = 'required' | 'derived' | 'configured' | 'off';

export interface IdempotencyOptions {
  /** The name of the operation that the runner runs. */
  operation: string;
  /** Default `configured`. */
  policy?: KeyPolicy;
  /** How long the answer is kept, such as `48h`; default as `IDEMPOTENCY_RETENTION` says. */
  lifetime?: StringValue;
}

export const IDEMPOTENCY_OPTIONS = Symbol('IdempotencyOptions');
