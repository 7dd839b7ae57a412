import type { OutboxEvent } from './event.js';

/**
 * An event as receivers get it: the same JSON as `GET /v1/events/{event_id}` returns. The resource goes in as its
 * stored text, so the bytes are the same at every try.
 */
export function eventJson(event: OutboxEvent): string {
  const { eventId, type, transactionId, sequence, createdAt, resource } = event;
  const envelope = JSON.stringify({
    event_id: eventId,
    type,
    transaction_id: transactionId,
    sequence,
    created_at: createdAt.toISOString(),
  });
  return `${envelope.slice(0, -1)},"data":${resource}}`;
}
