import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Config } from '../config/config.js';

/** How long a browser may cache a preflight answer. Chromium caps it at this. */
const PREFLIGHT_MAX_AGE_SECONDS = 7_200;

const ALLOWED_HEADERS = ['Authorization', 'Content-Type', 'Idempotency-Key', 'Prefer', 'X-Request-Id'];
/** A client needs these to retry well, and a browser hides them unless we expose them. */
const EXPOSED_HEADERS = [
  'Idempotency-Key',
  'Idempotent-Replayed',
  'Link',
  'Location',
  'Preference-Applied',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'WWW-Authenticate',
  'X-Request-Id',
];

/** Allows the configured web pages to call the API. With none configured, browsers allow only our own pages. */
export function allowOrigins(adapter: FastifyAdapter, { corsOrigins }: Pick<Config, 'corsOrigins'>): void {
  if (corsOrigins.length === 0) return;
  adapter.enableCors({
    origin: [...corsOrigins],
    methods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE'],
    allowedHeaders: ALLOWED_HEADERS,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_MAX_AGE_SECONDS,
    // The API key is not a cookie, so a browser sends no credentials by itself.
    credentials: false,
    // With strict preflight, an OPTIONS request that is not a preflight gets an answer in plain text.
    strictPreflight: false,
  });
}
