import { Module } from '@nestjs/common';
import { EndpointAddresses, HostResolver } from '../endpoints/endpoint-addresses.js';
import { WebhookDeliveriesStore } from './webhook-deliveries.store.js';
import { WebhookDispatcher } from './webhook-dispatcher.js';
import { WebhookEndpointsStore } from '../endpoints/webhook-endpoints.store.js';
import { WebhookLogStore } from './webhook-log.store.js';
import { WebhookSubscriptionsStore } from './webhook-subscriptions.store.js';
import { WebhookMetrics } from './webhook-metrics.js';
import { WebhookQueue } from './webhook-queue.js';
import { WebhookRecorder } from './webhook-recorder.js';
import { WebhookRedelivery } from './webhook-redelivery.js';
import { WebhookRetentionWorker } from './webhook-retention.worker.js';
import { WebhookSender } from './webhook-sender.js';
import { WebhooksSink } from './webhooks.sink.js';

/** How events reach endpoints. */
@Module({
  providers: [
    HostResolver,
    EndpointAddresses,
    WebhookEndpointsStore,
    WebhookSubscriptionsStore,
    WebhookDeliveriesStore,
    WebhookLogStore,
    WebhookQueue,
    WebhookRecorder,
    WebhookSender,
    WebhookMetrics,
    WebhookDispatcher,
    WebhookRedelivery,
    WebhookRetentionWorker,
    WebhooksSink,
  ],
  exports: [EndpointAddresses, WebhookEndpointsStore, WebhookLogStore, WebhookRedelivery, WebhooksSink],
})
export class WebhookDeliveryModule {}
