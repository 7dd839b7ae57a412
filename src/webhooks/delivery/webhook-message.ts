import { Webhook } from 'standardwebhooks';
import type { OutboxEvent } from '../../events/event.js';
import { eventJson } from '../../events/event-wire.js';

/**
 * The body in the form that Standard Webhooks recommends, always the same bytes. Its `data` is what
 * `GET /v1/events/{event_id}` returns.
 */
export function messageBody(event: OutboxEvent): string {
  const type = JSON.stringify(event.type);
  return `{"type":${type},"timestamp":"${event.createdAt.toISOString()}","data":${eventJson(event)}}`;
}

/** The headers of one try. The id is the event's. The time is the try's, so that an old message cannot be replayed. */
export function messageHeaders(
  eventId: string,
  body: string,
  secrets: readonly string[],
  now: Date,
): Record<string, string> {
  return {
    'content-type': 'application/json',
    'webhook-id': eventId,
    'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
    'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(eventId, now, body)).join(' '),
  };
}
