import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import canonicalize from 'canonicalize';
import { CONFIG, type Config } from '../config/config.js';
import { uuidv8 } from '../ids/uuidv8.js';
import type { ScopedKey } from './scoped-key.js';

/** What makes two calls the same at the gateway: under which key of which merchant, what for, and what was asked. */
export interface GatewayKeyInput extends ScopedKey {
  /** What the call is for: the name of its operation. */
  operation: string;
  /** The path's parameters. In the place of an id that we drew stands the gateway key of what it names. */
  params?: Readonly<Record<string, string>> | undefined;
  /** The validated body. Undefined members are ignored. */
  body: object;
}

/**
 * Derives gateway keys. A key is not drawn, because a database that has lost its tail must ask the gateway again under
 * the key that it no longer remembers. So nothing in here may ever change: another key for the same request is a second
 * charge. It covers the request as the fingerprint does, but not by the fingerprint, whose version may be raised.
 */
@Injectable()
export class GatewayKeys {
  private readonly namespace: string;

  constructor(@Inject(CONFIG) { gatewayKeyNamespace }: Pick<Config, 'gatewayKeyNamespace'>) {
    this.namespace = gatewayKeyNamespace;
  }

  /**
   * A UUIDv8 from SHA-256 over the canonical JSON (RFC 8785) of the namespace and the input. Written out, because the
   * library takes longer for the members that every input has than for the body. They are in the order of their names,
   * and a string is canonical as `JSON.stringify` writes it.
   */
  derive({ merchantId, idempotencyKey, operation, params, body }: GatewayKeyInput): string {
    const canonical =
      `{"body":${canonicalJson(body)},"idempotencyKey":${JSON.stringify(idempotencyKey)},` +
      `"merchantId":${JSON.stringify(merchantId)},"namespace":${JSON.stringify(this.namespace)},` +
      `"operation":${JSON.stringify(operation)},"params":${params === undefined ? '{}' : canonicalJson(params)}}`;
    return uuidv8(createHash('sha256').update(canonical).digest());
  }
}

function canonicalJson(value: object): string {
  const canonical = canonicalize(value);
  if (canonical === undefined) throw new TypeError('a gateway key needs plain JSON');
  return canonical;
}
