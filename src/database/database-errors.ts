/** System errors of a connection that failed or was lost. */
const CONNECTION_ERRNOS: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/**
 * SQLSTATEs of a server that can serve no statement: connection exceptions (class 08), insufficient resources such as
 * too many connections or a full disk (class 53), shutdown, crash and start-up (57P0x), and a standby that takes no
 * writes, which is how we see a fail-over (25006).
 */
const UNAVAILABLE_SQLSTATE = /^(08...|53...|57P0[1-5]|25006)$/;

/** Messages that `pg`, its pool and TypeORM give without a code. */
const UNAVAILABLE_MESSAGES = [
  'Connection terminated',
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Query read timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'Cannot use a pool after calling end on the pool',
  'Driver not Connected',
];

/** TypeORM wraps a driver's error, and a pool wraps a socket's; deeper chains are not ours. */
const MAX_CAUSES = 5;

/**
 * Whether an error means that the database cannot be reached, rather than that it refused a statement. It does not say
 * whether a running transaction took effect: a connection lost after COMMIT was sent looks the same.
 */
export function isDatabaseUnavailable(error: unknown, causesLeft = MAX_CAUSES): boolean {
  if (!(error instanceof Error) || causesLeft === 0) return false;
  const { code, driverError, errors } = error as Error & {
    code?: unknown;
    driverError?: unknown;
    errors?: unknown;
  };
  if (typeof code === 'string' && (CONNECTION_ERRNOS.has(code) || UNAVAILABLE_SQLSTATE.test(code)))
    return true;
  if (UNAVAILABLE_MESSAGES.some((message) => error.message.startsWith(message))) return true;
  // Node tries every address of a host name and reports one AggregateError.
  const inner = [driverError, error.cause, ...(Array.isArray(errors) ? (errors as unknown[]) : [])];
  return inner.some((each) => isDatabaseUnavailable(each, causesLeft - 1));
}

/** More is waiting than can be served in useful time. */
export class OverloadedError extends Error {
  override readonly name = 'OverloadedError';
}

/** SQLSTATEs of a conflict between transactions: serialization failure, deadlock, lock and statement timeouts. */
const CONTENTION_SQLSTATES: ReadonlySet<string> = new Set(['40001', '40P01', '55P03', '57014']);

/** SQLSTATE `lock_not_available`: a lock was not to be had within `lock_timeout`. It does not say which. */
const LOCK_TIMEOUT_SQLSTATES: ReadonlySet<string> = new Set(['55P03']);

/** Whether a transaction was rolled back because of others, so that it may succeed when repeated. */
export function isContention(error: unknown): boolean {
  return hasCode(error, CONTENTION_SQLSTATES);
}

/** Whether a transaction was rolled back because it waited for a lock for as long as it may. */
export function isLockTimeout(error: unknown): boolean {
  return hasCode(error, LOCK_TIMEOUT_SQLSTATES);
}

function hasCode(error: unknown, codes: ReadonlySet<string>, causesLeft = MAX_CAUSES): boolean {
  if (!(error instanceof Error) || causesLeft === 0) return false;
  const { code } = error as Error & { code?: unknown };
  return (typeof code === 'string' && codes.has(code)) || hasCode(error.cause, codes, causesLeft - 1);
}
