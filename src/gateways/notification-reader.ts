import type { IncomingHttpHeaders } from 'node:http';
import { validate as isUuid } from 'uuid';
import type { GatewayName } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';

/**
 * What a provider's notification says, as far as anybody acts on it: look at this payment or refund now. What happened
 * to it is asked of the provider, so that neither the order of notifications nor what a body claims decides anything.
 */
export interface GatewayNotification {
  /** The provider's own id of the event, the same however often it is sent. */
  eventId: string;
  type: string;
  /** Our id of the payment or refund that it is about, in lower case; null where it names none of ours. */
  resourceId: string | null;
}

/** A notification of a provider, from the bytes that its signature is over. */
export abstract class NotificationReader {
  abstract readonly gateway: GatewayName;

  /** @throws RefusedError `notification_signature_invalid` or `malformed_body` */
  abstract read(body: Buffer, headers: IncomingHttpHeaders): GatewayNotification;
}

/** Both providers' ids and types are; a text column takes no other character without an exception for one. */
const PLAIN_WORD = /^[\x21-\x7e]{1,255}$/;

const NOT_SIGNED =
  'The notification is not signed with the secret of this gateway, or it was signed more than five minutes ago.';

export function notSigned(cause?: unknown): RefusedError {
  return new RefusedError({ code: 'notification_signature_invalid', reason: NOT_SIGNED }, { cause });
}

export function notANotification(reason: string): RefusedError {
  return new RefusedError({ code: 'malformed_body', reason });
}

/** @throws RefusedError `malformed_body` for what no provider sends as an id or a type. */
export function plainWord(value: unknown, name: string): string {
  if (typeof value === 'string' && PLAIN_WORD.test(value)) return value;
  throw notANotification(`The ${name} must be 1 to 255 visible ASCII characters.`);
}

/** A field of something that came from outside; undefined where there is no such thing. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** One of our ids, or null for what cannot be one. */
export function ourId(value: unknown): string | null {
  return typeof value === 'string' && isUuid(value) ? value.toLowerCase() : null;
}
