import { Module } from '@nestjs/common';
import { OperationRegistry } from '../idempotency/operation.registry.js';
import { PaymentsModule } from '../payments/payments.module.js';
import { CreateEndpointOperation } from './endpoints/create-endpoint.operation.js';
import { RotateSecretOperation } from './endpoints/rotate-secret.operation.js';
import { WebhookDeliveriesController } from './delivery/webhook-deliveries.controller.js';
import { WebhookDeliveryModule } from './delivery/webhook-delivery.module.js';
import { WebhookEndpointsController } from './endpoints/webhook-endpoints.controller.js';

/** The routes of webhooks, and the two of them that are keyed operations. */
@Module({
  imports: [PaymentsModule, WebhookDeliveryModule],
  controllers: [WebhookEndpointsController, WebhookDeliveriesController],
  providers: [CreateEndpointOperation, RotateSecretOperation],
})
export class WebhooksModule {
  constructor(registry: OperationRegistry, create: CreateEndpointOperation, rotate: RotateSecretOperation) {
    registry.register(create);
    registry.register(rotate);
  }
}
