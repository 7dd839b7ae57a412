import { Injectable } from '@nestjs/common';
import { validate as isUuid } from 'uuid';
import { RefusedError } from '../../domain/errors.js';
import { uuidv7 } from '../../ids/uuidv7.js';
import { WebhookDeliveriesStore, type EventRange } from './webhook-deliveries.store.js';
import { WebhookDispatcher } from './webhook-dispatcher.js';
import type { WebhookEndpointEntity } from '../endpoints/webhook-endpoint.entity.js';
import { WebhookEndpointsStore } from '../endpoints/webhook-endpoints.store.js';
import { jobsFor, newDelivery } from './webhook-jobs.js';
import { WebhookLogStore, type Delivery } from './webhook-log.store.js';
import { WebhookQueue } from './webhook-queue.js';

/** Keeps the transaction to some tenths of a second. The client asks for the rest of a range with the cursor. */
const MAX_RESENT_EVENTS = 2_000;

interface ResendCommand extends Pick<EventRange, 'createdGte' | 'createdLt' | 'after'> {
  onlyUndelivered: boolean;
}

/** Sends again: one delivery, or a range of a merchant's events, including those that were never scheduled. */
@Injectable()
export class WebhookRedelivery {
  constructor(
    private readonly endpoints: WebhookEndpointsStore,
    private readonly deliveries: WebhookDeliveriesStore,
    private readonly log: WebhookLogStore,
    private readonly queue: WebhookQueue,
    private readonly dispatcher: WebhookDispatcher,
  ) {}

  /** @throws RefusedError `not_found`, or `webhook_endpoint_disabled`. */
  async retry(merchantId: string, id: string): Promise<Delivery> {
    const key = isUuid(id) ? await this.log.findEndpoint(merchantId, id) : null;
    const endpoint = key && (await this.endpoints.find(merchantId, key.webhookEndpointId));
    if (endpoint === null) throw new RefusedError({ code: 'not_found', what: 'webhook delivery' });
    requireEnabled(endpoint);
    const job = { merchantId, webhookDeliveryId: id, jobId: uuidv7() };
    await this.queue.transaction(async (tx) => {
      const restarted = await this.deliveries.restart(tx, job);
      if (restarted) await tx.add([{ ...job, group: endpoint.webhookEndpointId, delayMs: 0 }]);
    });
    this.dispatcher.wake();
    const delivery = await this.log.find(merchantId, id);
    if (delivery === null) throw new RefusedError({ code: 'not_found', what: 'webhook delivery' });
    return delivery;
  }

  /**
   * Sends the events of a range that the endpoint subscribes to, oldest first.
   * @returns how many were scheduled and, if the range holds more events, the last one of this page.
   * @throws RefusedError `webhook_endpoint_disabled`.
   */
  async resend(
    endpoint: WebhookEndpointEntity,
    { onlyUndelivered, ...range }: ResendCommand,
  ): Promise<{ scheduled: number; last: string | null }> {
    requireEnabled(endpoint);
    const { merchantId, webhookEndpointId, eventTypes } = endpoint;
    const found = await this.deliveries.events({ ...range, merchantId, eventTypes }, MAX_RESENT_EVENTS + 1);
    const events = found.slice(0, MAX_RESENT_EVENTS);
    const wanted = events.map(({ eventId, eventType }) =>
      newDelivery(merchantId, webhookEndpointId, eventId, eventType),
    );
    const jobs = await this.queue.transaction(async (tx) => {
      const scheduled = await this.deliveries.schedule(tx, wanted, onlyUndelivered ? 'undelivered' : 'all');
      await tx.add(jobsFor(scheduled, wanted));
      return scheduled;
    });
    this.dispatcher.wake();
    const last = found.length > events.length ? events.at(-1)?.eventId : undefined;
    return { scheduled: jobs.length, last: last ?? null };
  }
}

function requireEnabled({ enabled }: WebhookEndpointEntity): void {
  if (!enabled) throw new RefusedError({ code: 'webhook_endpoint_disabled' });
}
