import { Webhook } from 'standardwebhooks';
import type { OutboxEvent } from '../../events/event.js';
import { eventJson } from '../../events/event-wire.js';

/** The body as Standard Webhooks recommends it; its `data` is what `GET /v1/events/{event_id}` answers. Always the same bytes. */
export function messageBody(event: OutboxEvent): string {
  const type = JSON.stringify(event.type);
  return `{"type":${type},"timestamp":"${event.createdAt.toISOString()}","data":${eventJson(event)}}`;
}

/** The headers of one try. The id is the event's; the time is the try's, so that an old message cannot be played again. */
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
