import { Module } from '@nestjs/common';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { NotificationMetrics } from './notification-metrics.js';
import { NotificationRetentionWorker } from './notification-retention.worker.js';
import { ProviderNotificationsController } from './provider-notifications.controller.js';
import { ProviderNotifications } from './provider-notifications.js';
import { ProviderNotificationsStore } from './provider-notifications.store.js';

/** What payment providers send us unasked. `gateways/` knows how to read and verify what each of them sends. */
@Module({
  imports: [IdempotencyModule],
  controllers: [ProviderNotificationsController],
  providers: [
    ProviderNotificationsStore,
    ProviderNotifications,
    NotificationMetrics,
    NotificationRetentionWorker,
  ],
})
export class ProviderNotificationsModule {}
