import { Module } from '@nestjs/common';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { GatewayNotificationsController } from './gateway-notifications.controller.js';
import { GatewayNotifications } from './gateway-notifications.js';

/** Takes in what the provider says on its own. */
@Module({
  imports: [IdempotencyModule],
  controllers: [GatewayNotificationsController],
  providers: [GatewayNotifications],
})
export class GatewayNotificationsModule {}
