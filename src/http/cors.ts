import type { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Config } from '../config/config.js';

/** How long a browser may remember what it was allowed: as long as Chromium takes any answer. */
const PREFLIGHT_MAX_AGE_SECONDS = 7_200;

const ALLOWED_HEADERS = ['Authorization', 'Content-Type', 'Idempotency-Key', 'Prefer', 'X-Request-Id'];
/** What a client needs in order to retry well, and what a browser would hide from it. */
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

/** Lets the configured web pages call the API. Without any the browsers' own rule holds: nobody else's pages may. */
export function allowOrigins(adapter: FastifyAdapter, { corsOrigins }: Pick<Config, 'corsOrigins'>): void {
  if (corsOrigins.length === 0) return;
  adapter.enableCors({
    origin: [...corsOrigins],
    methods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE'],
    allowedHeaders: ALLOWED_HEADERS,
    exposedHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_MAX_AGE_SECONDS,
    // The API key is no cookie: a browser sends nothing by itself.
    credentials: false,
    // Otherwise an OPTIONS request that is no preflight is answered in plain text.
    strictPreflight: false,
  });
}
