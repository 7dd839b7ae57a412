import { HttpException } from '@nestjs/common';
import { isContention, isDatabaseUnavailable, OverloadedError } from '../database/database-errors.js';
import { type Refusal, RefusedError } from '../domain/errors.js';

/** After a fail-over or a restart, the database is usually back within a second. */
const DATABASE_RETRY_AFTER_SECONDS = 1;

/** Fastify's codes for errors in a request. Its other codes are programming errors. */
const FASTIFY_REFUSALS: Readonly<Record<string, Refusal>> = {
  FST_ERR_BAD_URL: { code: 'malformed_request', reason: 'The URL is not valid percent-encoded UTF-8.' },
  FST_ERR_INVALID_URL: { code: 'malformed_request', reason: 'The URL is not valid.' },
  // The segment is longer than any id or key, so there is nothing at that address.
  FST_ERR_MAX_PARAM_LENGTH: { code: 'not_found', what: 'resource' },
  FST_ERR_NOT_FOUND: { code: 'not_found', what: 'resource' },
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'payload_too_large' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'unsupported_media_type' },
  FST_ERR_ROUTE_MISSING_CONTENT_TYPE: { code: 'unsupported_media_type' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: {
    code: 'malformed_body',
    reason: 'The body is not as long as Content-Length says.',
  },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'malformed_body', reason: 'The body must be a JSON object.' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'malformed_body', reason: 'The body is not valid JSON.' },
};

/** Maps any error to a refusal, whether our code, Nest, Fastify, Node or the database threw it. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof RefusedError) return error.refusal;
  if (!(error instanceof Error)) return { code: 'internal_error' };
  const fastifyRefusal = fastifyCode(error) ?? fastifyCode(error.cause);
  if (fastifyRefusal !== undefined) return fastifyRefusal;
  const status = httpStatus(error);
  if (status !== undefined && status >= 400 && status < 500) return refusalOfStatus(status);
  if (isDatabaseUnavailable(error) || isContention(error) || error instanceof OverloadedError) {
    return { code: 'service_unavailable', retryAfterSeconds: DATABASE_RETRY_AFTER_SECONDS };
  }
  return { code: 'internal_error' };
}

function fastifyCode(error: unknown): Refusal | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return Object.hasOwn(FASTIFY_REFUSALS, error.code) ? FASTIFY_REFUSALS[error.code] : undefined;
}

/** When reading a body fails, for example because the client hung up, Fastify sets `statusCode` on the error. */
function httpStatus(error: Error): number | undefined {
  if (error instanceof HttpException) return error.getStatus();
  return 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

function refusalOfStatus(status: number): Refusal {
  switch (status) {
    case 401:
      return { code: 'unauthorized', reason: 'A valid API key is required.' };
    case 403:
      return { code: 'forbidden', reason: 'This request is not allowed.' };
    case 404:
    case 405:
    case 414:
      return { code: 'not_found', what: 'resource' };
    case 408:
      return { code: 'request_timeout' };
    case 413:
      return { code: 'payload_too_large' };
    case 415:
      return { code: 'unsupported_media_type' };
    case 431:
      return { code: 'headers_too_large' };
    default:
      return { code: 'malformed_request', reason: 'The request could not be read.' };
  }
}
