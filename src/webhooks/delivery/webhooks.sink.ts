import { Injectable } from '@nestjs/common';
import type { EventSink } from '../../events/event-sink.js';
import type { OutboxEvent } from '../../events/event.js';
import { WebhookDeliveriesStore, type NewDelivery } from './webhook-deliveries.store.js';
import { WebhookDispatcher } from './webhook-dispatcher.js';
import { jobsFor, newDelivery } from './webhook-jobs.js';
import { WebhookQueue } from './webhook-queue.js';
import { SUBSCRIBED, WebhookSubscriptionsStore, type Subscription } from './webhook-subscriptions.store.js';

/** Rows per statement. */
const CHUNK_SIZE = 1_000;

/**
 * Schedules events for the endpoints that subscribe to them. An event without subscribers never gets here. Who
 * subscribes is read when the event is written and again here, and never cached, because an endpoint must get every
 * event that happens after it was created or enabled.
 */
@Injectable()
export class WebhooksSink implements EventSink {
  readonly name = 'webhooks';
  readonly wants = SUBSCRIBED;

  constructor(
    private readonly subscriptions: WebhookSubscriptionsStore,
    private readonly deliveries: WebhookDeliveriesStore,
    private readonly queue: WebhookQueue,
    private readonly dispatcher: WebhookDispatcher,
  ) {}

  /** Writes deliveries and their jobs in one transaction. An event that already has its delivery is left alone. */
  async handOn(events: readonly OutboxEvent[]): Promise<void> {
    const merchantIds = [...new Set(events.map(({ merchantId }) => merchantId))];
    const wanted = wantedBy(await this.subscriptions.of(merchantIds), events);
    if (wanted.length === 0) return;
    await this.queue.transaction(async (tx) => {
      for (let begin = 0; begin < wanted.length; begin += CHUNK_SIZE) {
        const chunk = wanted.slice(begin, begin + CHUNK_SIZE);
        const jobs = await this.deliveries.schedule(tx, chunk, 'none');
        await tx.add(jobsFor(jobs, chunk));
      }
    });
    this.dispatcher.wake();
  }
}

function wantedBy(subscriptions: readonly Subscription[], events: readonly OutboxEvent[]): NewDelivery[] {
  // A relay may hand on an event twice in one batch, and an upsert must not touch a row twice.
  const once = new Map(events.map((event) => [`${event.merchantId} ${event.eventId}`, event]));
  const byMerchant = Map.groupBy(subscriptions, ({ merchantId }) => merchantId);
  return [...once.values()].flatMap(({ merchantId, eventId, type }) =>
    (byMerchant.get(merchantId) ?? [])
      .filter(({ eventTypes }) => eventTypes === null || eventTypes.includes(type))
      .map(({ webhookEndpointId }) => newDelivery(merchantId, webhookEndpointId, eventId, type)),
  );
}
