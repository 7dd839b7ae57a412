import { createHash } from 'node:crypto';
import { FINGERPRINT_VERSIONS, type RequestContents, WRITTEN_VERSION } from './fingerprint-versions.js';

/** A request as far as another can be the same. */
interface Fingerprinted {
  /** By the version that we write. */
  fingerprint: string;
  contents: RequestContents;
}

/**
 * SHA-256 over what the version says of operation, path parameters and body, as `v1:<base64url>`. Headers and
 * credentials make no difference.
 */
export function fingerprint(contents: RequestContents, version = WRITTEN_VERSION): string {
  const hashed = FINGERPRINT_VERSIONS[version];
  if (hashed === undefined) throw new RangeError(`there is no fingerprint ${version}`);
  return `${version}:${createHash('sha256').update(hashed(contents)).digest('base64url')}`;
}

/**
 * Whether a stored fingerprint is the request's, by the version that it was stored with.
 * @param stored null if nothing is stored
 */
export function sameRequest(stored: string | null, request: Fingerprinted): boolean {
  if (stored === request.fingerprint) return true;
  const [version = ''] = stored?.split(':', 1) ?? [];
  if (version === WRITTEN_VERSION || !Object.hasOwn(FINGERPRINT_VERSIONS, version)) return false;
  return stored === fingerprint(request.contents, version);
}
