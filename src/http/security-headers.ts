import type { Config } from '../config/config.js';

/** A year, as preload lists and scanners expect it. Subdomains are somebody else's decision. */
const HSTS_SECONDS = 365 * 24 * 3_600;

/** An answer of the API is data: should a browser ever show one as a page, nothing in it runs, loads or is framed. */
const DATA_POLICY = "default-src 'none'; frame-ancestors 'none'";

/**
 * The Swagger UI and the problem pages bring every file along and speak to their own origin. Styles are inline in
 * both, and the Swagger UI's images are `data:` URLs.
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
 * What browsers are told, chosen one by one. Left out of what is usual: X-Frame-Options, which `frame-ancestors`
 * replaces; X-XSS-Protection, which browsers have given up; Cross-Origin-* policies, which protect what a browser sends
 * of its own accord, and an API key is not.
 */
export function securityHeaders(config: Pick<Config, 'publicUrl'>): SecurityHeaders {
  const common = {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    // Means something over TLS only, and this process does not see who ended it.
    ...(config.publicUrl?.startsWith('https:') === true && {
      'strict-transport-security': `max-age=${HSTS_SECONDS}`,
    }),
  };
  const page = { ...common, 'content-security-policy': PAGE_POLICY };
  // What is said about money is neither kept by a proxy nor by a browser.
  const money = { ...common, 'content-security-policy': DATA_POLICY, 'cache-control': 'no-store' };
  const other = { ...common, 'content-security-policy': DATA_POLICY };
  return (url = '') => {
    if (url.startsWith('/v1/')) return money;
    return PAGE.test(url) ? page : other;
  };
}
