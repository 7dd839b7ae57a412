/**
 * Why the service cannot start, in one sentence for the person who started it.
 * The entry point prints only the message, without a stack trace, and exits with code 1.
 */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}
