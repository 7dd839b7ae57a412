import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

/** Raise this whenever the hashed input changes, so that old and new fingerprints never match by accident. */
const VERSION = 'v1';

/** What makes two requests the same: operation, path parameters and body. */
interface FingerprintInput {
  operation: string;
  /** Path parameters by name. */
  params?: Readonly<Record<string, string>> | undefined;
  /** The validated body. Undefined members are ignored. */
  body: object;
}

/**
 * SHA-256 over the canonical JSON (RFC 8785) of operation, path parameters and body, as `v1:<base64url>`. Headers,
 * credentials and the order of JSON members make no difference. Every value does.
 */
export function fingerprint({ operation, params = {}, body }: FingerprintInput): string {
  const canonical = canonicalize({ operation, params, body });
  if (canonical === undefined) throw new TypeError('a fingerprint needs plain JSON');
  return `${VERSION}:${createHash('sha256').update(canonical).digest('base64url')}`;
}
