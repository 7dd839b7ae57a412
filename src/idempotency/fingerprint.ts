import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

/** Raised whenever what goes into the hash changes, so that old and new fingerprints never meet by accident. */
const VERSION = 'v1';

/** What makes two requests the same: what is asked for, of what, with which parameters. */
export interface FingerprintInput {
  operation: string;
  /** Path parameters by name. */
  params?: Readonly<Record<string, string>> | undefined;
  /** The validated body. Members that are undefined do not count. */
  body: object;
}

/**
 * SHA-256 over the canonical JSON (RFC 8785) of operation, path parameters and body, as `v1:<base64url>`. Headers,
 * credentials and the order of JSON members make no difference; every value does.
 */
export function fingerprint({ operation, params = {}, body }: FingerprintInput): string {
  const canonical = canonicalize({ operation, params, body });
  if (canonical === undefined) throw new TypeError('a fingerprint needs plain JSON');
  return `${VERSION}:${createHash('sha256').update(canonical).digest('base64url')}`;
}
