import { type Logger, destination, pino, stdTimeFunctions } from 'pino';
import type { Config } from '../config/config.js';

/** We write lines in batches: at thousands of requests a second, a write per line costs more than making the line. */
const BUFFERED_BYTES = 4_096;
/** How long a line may wait to be written, and so how much of its log a killed process may lose. */
const FLUSH_INTERVAL_MS = 100;
/** If nothing reads our log any more, we drop lines rather than run out of memory. */
const MAX_BUFFERED_BYTES = 16 * 1_024 * 1_024;
const MAX_LOGGED_CAUSES = 5;

/** Structured JSON on standard output. Of what a client sent, we log only method, route and request id. */
export function createLogger(config: Pick<Config, 'logLevel'>): Logger {
  return pino(
    {
      level: config.logLevel,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      serializers: { err: serializeError },
    },
    destination({
      dest: 1,
      sync: false,
      minLength: BUFFERED_BYTES,
      maxLength: MAX_BUFFERED_BYTES,
      periodicFlush: FLUSH_INTERVAL_MS,
    }),
  );
}

interface LoggedError {
  type: string;
  message: string;
  stack?: string;
  code?: unknown;
  cause?: LoggedError;
}

/**
 * Keeps only the fields that every error has. We do not use pino's serializer, because it copies every field, and the
 * `parameters` and `detail` of a failed statement hold keys and payment methods.
 */
export function serializeError(error: unknown, causesLeft = MAX_LOGGED_CAUSES): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  return {
    type: error.name,
    message: error.message,
    ...(error.stack !== undefined && { stack: error.stack }),
    ...('code' in error && { code: error.code }),
    ...(error.cause !== undefined &&
      causesLeft > 0 && { cause: serializeError(error.cause, causesLeft - 1) }),
  };
}
