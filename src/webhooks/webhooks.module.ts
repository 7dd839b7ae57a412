import { Module } from '@nestjs/common';
import { IdempotencyWireModule } from '../idempotency/wire/idempotency-wire.module.js';
import { CreateEndpointOperation } from './endpoints/create-endpoint.operation.js';
import { RotateSecretOperation } from './endpoints/rotate-secret.operation.js';
import { WebhookDeliveriesController } from './delivery/webhook-deliveries.controller.js';
import { WebhookDeliveryModule } from './delivery/webhook-delivery.module.js';
import { WebhookEndpointsController } from './endpoints/webhook-endpoints.controller.js';

/**
 * Webhooks in two halves: `endpoints/` is what a merchant keeps, `delivery/` is how events get there. Delivery imports
 * endpoints, never the other way.
 */
@Module({
  imports: [IdempotencyWireModule, WebhookDeliveryModule],
  controllers: [WebhookEndpointsController, WebhookDeliveriesController],
  providers: [CreateEndpointOperation, RotateSecretOperation],
  exports: [WebhookDeliveryModule, CreateEndpointOperation, RotateSecretOperation],
})
export class WebhooksModule {}
