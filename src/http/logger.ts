import { type Logger, destination, pino, stdTimeFunctions } from 'pino';
import type { Config } from '../config/config.js';

/** Lines are written together: a write for each of thousands of requests a second costs more than the requests' log. */
const BUFFERED_BYTES = 4_096;
/** How long a line may wait for others. It is also what a killed process may lose of its log. */
const FLUSH_INTERVAL_MS = 100;
/** A reader that has stopped may make us drop lines, never run out of memory. */
const MAX_BUFFERED_BYTES = 16 * 1_024 * 1_024;
const MAX_LOGGED_CAUSES = 5;

/** Structured JSON on standard output. Nothing that a client sent is logged, save method, route and request id. */
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
 * Only what every error has. A failed statement's own fields (`parameters`, `detail`) hold keys and payment methods, so
 * pino's serializer, which copies every field, is not for us.
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
