/**
 * Why the service cannot start, as one sentence for the person who started it.
 * Whoever catches it at the top prints the message alone, without a stack trace, and exits with code 1.
 */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
