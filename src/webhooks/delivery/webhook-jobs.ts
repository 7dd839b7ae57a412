import { uuidv7 } from '../../ids/uuidv7.js';
import type { DeliveryJob, NewDelivery } from './webhook-deliveries.store.js';
import type { NewJob } from './webhook-queue.js';

export function newDelivery(
  merchantId: string,
  webhookEndpointId: string,
  eventId: string,
  eventType: NewDelivery['eventType'],
): NewDelivery {
  return { merchantId, webhookEndpointId, eventId, eventType, webhookDeliveryId: uuidv7(), jobId: uuidv7() };
}

/** The jobs of the deliveries that were scheduled, each in its endpoint's group and due at once. */
export function jobsFor(scheduled: readonly DeliveryJob[], deliveries: readonly NewDelivery[]): NewJob[] {
  const groups = new Map(deliveries.map(({ jobId, webhookEndpointId }) => [jobId, webhookEndpointId]));
  return scheduled.map((job) => ({ ...job, group: groups.get(job.jobId) ?? '', delayMs: 0 }));
}
