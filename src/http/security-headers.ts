import type { Config } from '../config/config.js';

/** A year, as preload lists and scanners expect. We do not include subdomains: that is not ours to decide. */
const HSTS_SECONDS = 365 * 24 * 3_600;

/**
 * For API answers, which are data. If a browser ever shows one as a page, it can run and load nothing, and cannot be
 * framed.
 */
const DATA_POLICY = "default-src 'none'; frame-ancestors 'none'";

/**
 * The Swagger UI and the problem pages load every file from their own origin and call only that. Both use inline
 * styles, and the Swagger UI's images are `data:` URLs.
 */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const PAGE = /^\/(docs|problems)(?=$|[/?])/;

export type SecurityHeaders = (url: string | undefined) => Readonly<Record<string, string>>;

/**
 * The security headers of an answer, each chosen for a reason. We leave out three usual ones: `frame-ancestors`
 * replaces X-Frame-Options; browsers no longer support X-XSS-Protection; and Cross-Origin-* policies protect
 * credentials that a browser sends by itself, which it never does with an API key.
 */
export function securityHeaders(config: Pick<Config, 'publicUrl'>): SecurityHeaders {
  const common = {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    // Only valid over TLS. TLS ends in front of this process, so the public URL has to say it.
    ...(config.publicUrl?.startsWith('https:') === true && {
      'strict-transport-security': `max-age=${HSTS_SECONDS}`,
    }),
  };
  const page = { ...common, 'content-security-policy': PAGE_POLICY };
  // Neither a proxy nor a browser may cache an answer about money.
  const money = { ...common, 'content-security-policy': DATA_POLICY, 'cache-control': 'no-store' };
  const other = { ...common, 'content-security-policy': DATA_POLICY };
  return (url = '') => {
    if (url.startsWith('/v1/')) return money;
    return PAGE.test(url) ? page : other;
  };
}
