import { isContention, isDatabaseUnavailable, OverloadedError } from '../database/database-errors.js';
import { CommitUnknownError } from '../database/pipelined-transactions.js';
import { RefusedError } from '../domain/errors.js';

export const RETRY_AFTER_SECONDS = 1;

/** True for an error after which the same write may succeed later. */
export function isTransient(error: unknown): boolean {
  return (
    error instanceof CommitUnknownError ||
    error instanceof OverloadedError ||
    isDatabaseUnavailable(error) ||
    isContention(error)
  );
}

/** For a request whose claim may stand: recovery will run it, so the client must not hear "no effect". */
export function outcomeUnknown(cause: unknown): RefusedError {
  return new RefusedError({ code: 'outcome_unknown', retryAfterSeconds: RETRY_AFTER_SECONDS }, { cause });
}

/** For a request that surely had no effect. */
export function serviceUnavailable(cause?: unknown): RefusedError {
  return new RefusedError({ code: 'service_unavailable', retryAfterSeconds: RETRY_AFTER_SECONDS }, { cause });
}
