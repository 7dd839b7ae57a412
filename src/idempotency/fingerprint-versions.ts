import canonicalize from 'canonicalize';

/** What makes two requests the same: operation, path parameters and body. */
export interface RequestContents {
  operation: string;
  /** Path parameters by name. */
  params?: Readonly<Record<string, string>> | undefined;
  /** The validated body. Undefined members are ignored. */
  body: object;
}

/**
 * What each version of the fingerprint hashes. Stored fingerprints begin with their version, and payments keep theirs
 * for ever, so never change or remove a version. Add one, and write it only in the release after: during an upgrade a
 * process would refuse a repeated request whose fingerprint has a version that it does not know.
 */
export const FINGERPRINT_VERSIONS: Readonly<Record<string, (contents: RequestContents) => string>> = {
  /** Canonical JSON (RFC 8785): the order of members makes no difference, every value does. */
  v1: ({ operation, params = {}, body }) => canonical({ operation, params, body }),
};

/** The version that new claims get. */
export const WRITTEN_VERSION = 'v1';

/**
 * The version that keys for requests without one are derived from. It is not raised with the other: the same request
 * would get a second key within its window, and be carried out twice.
 */
export const DERIVED_KEYS_VERSION = 'v1';

function canonical(value: object): string {
  const json = canonicalize(value);
  if (json === undefined) throw new TypeError('a fingerprint needs plain JSON');
  return json;
}
