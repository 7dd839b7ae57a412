import type { IncomingHttpHeaders } from 'node:http';
import { validate as isUuid } from 'uuid';
import type { GatewayName } from '../config/config.js';
import { RefusedError } from '../domain/errors.js';

/**
 * The part of a provider's notification that we act on: look at this payment or refund now. We ask the provider what
 * happened to it, so that neither the order of notifications nor what a body claims decides anything.
 */
export interface GatewayNotification {
  /** The provider's own id of the event: the same for every copy. */
  eventId: string;
  type: string;
  /** What it is about. Null where it names nothing of ours. */
  subject: NotificationSubject | null;
}

/** A payment by the gateway key of its charge, a refund by its own, or either by the id that earlier versions sent. */
export type NotificationSubject =
  { kind: 'payment' | 'refund'; gatewayKey: string } | { kind: 'resource'; resourceId: string };

/** Reads a provider's notifications from the exact bytes that the signature covers. */
export abstract class NotificationReader {
  abstract readonly gateway: GatewayName;

  /** @throws RefusedError `notification_signature_invalid` or `malformed_body` */
  abstract read(body: Buffer, headers: IncomingHttpHeaders): GatewayNotification;
}

/** Ids and types of both providers look like this. U+0000, for one, would not fit into a text column. */
const PLAIN_WORD = /^[\x21-\x7e]{1,255}$/;

const NOT_SIGNED =
  'The notification is not signed with the secret of this gateway, or it was signed more than five minutes ago.';

export function notSigned(cause?: unknown): RefusedError {
  return new RefusedError({ code: 'notification_signature_invalid', reason: NOT_SIGNED }, { cause });
}

export function notANotification(reason: string): RefusedError {
  return new RefusedError({ code: 'malformed_body', reason });
}

/** @throws RefusedError `malformed_body` for an id or a type that no provider sends. */
export function plainWord(value: unknown, name: string): string {
  if (typeof value === 'string' && PLAIN_WORD.test(value)) return value;
  throw notANotification(`The ${name} must be 1 to 255 visible ASCII characters.`);
}

/** A field of something that came from outside. Undefined if there is none. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

/** What an id or a key of ours names, or null for anything that can be neither. An id comes first. */
export function subjectOf(kind: 'payment' | 'refund', id: unknown, key: unknown): NotificationSubject | null {
  const resourceId = ourId(id);
  if (resourceId !== null) return { kind: 'resource', resourceId };
  const gatewayKey = ourId(key);
  return gatewayKey === null ? null : { kind, gatewayKey };
}

function ourId(value: unknown): string | null {
  return typeof value === 'string' && isUuid(value) ? value.toLowerCase() : null;
}
