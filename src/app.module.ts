import { Module, type DynamicModule, type InjectionToken, type Provider, type Type } from '@nestjs/common';
import { AuthModule } from './auth/auth.module.js';
import { BrokerModule } from './broker/broker.module.js';
import { CommandsModule } from './broker/commands.module.js';
import { NATS_EVENT_SINK } from './broker/nats-event.sink.js';
import { ConfigModule } from './config/config.module.js';
import type { Config } from './config/config.js';
import { CurrenciesModule } from './currencies/currencies.module.js';
import { DatabaseModule } from './database/database.module.js';
import { ENTITIES } from './entities.js';
import { EventSinks } from './events/event-sink.js';
import { EventsModule } from './events/events.module.js';
import { EventsSettlementSink } from './events/events-settlement.sink.js';

import { GatewaysModule } from './gateways/gateways.module.js';
import { HealthModule } from './health/health.module.js';
import { HttpModule } from './http/http.module.js';
import { IdempotencyModule } from './idempotency/idempotency.module.js';
import type { AnyOperation } from './idempotency/operation.js';
import { OperationRegistry } from './idempotency/operation.registry.js';
import type { AnySink } from './idempotency/settlement.js';
import { SettlementSinks } from './idempotency/settlement-sinks.js';
import { LedgerModule } from './ledger/ledger.module.js';
import { LedgerStore } from './ledger/ledger.store.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { CancelOperation } from './payments/cancel.operation.js';
import { CaptureOperation } from './payments/capture.operation.js';
import { ChargeOperation } from './payments/charge.operation.js';
import { PaymentsModule } from './payments/payments.module.js';
import { PaymentsStore } from './payments/payments.store.js';
import { PendingPaymentsSink } from './payments/pending-payments.sink.js';
import { RefundOperation } from './payments/refund.operation.js';
import { RefundsStore } from './payments/refunds.store.js';
import { ReversalOperation } from './payments/reversal.operation.js';
import { ReversalsStore } from './payments/reversals.store.js';
import { ProviderNotificationsModule } from './provider-notifications/provider-notifications.module.js';
import { TimeModule } from './time/time.module.js';
import { WebhooksSink } from './webhooks/delivery/webhooks.sink.js';
import { CreateEndpointOperation } from './webhooks/endpoints/create-endpoint.operation.js';
import { RotateSecretOperation } from './webhooks/endpoints/rotate-secret.operation.js';
import { WebhooksModule } from './webhooks/webhooks.module.js';

/** Every operation that runs under an idempotency key. */
const OPERATIONS: readonly Type<AnyOperation>[] = [
  ChargeOperation,
  CaptureOperation,
  CancelOperation,
  RefundOperation,
  ReversalOperation,
  CreateEndpointOperation,
  RotateSecretOperation,
];

/** What settlements write, in this order: an event takes its number from the payment's row, so that row comes first. */
const SETTLEMENT_SINKS: readonly Type<AnySink>[] = [
  PaymentsStore,
  PendingPaymentsSink,
  RefundsStore,
  ReversalsStore,
  LedgerStore,
  EventsSettlementSink,
];

/** Where committed events go. A sink that is not configured is null. */
const EVENT_SINKS = [WebhooksSink, NATS_EVENT_SINK];

/** The only place that knows every module, operation and sink. `entities.ts` beside it knows every table. */
@Module({})
export class AppModule {
  static forRoot(config: Config, databaseUrl: string): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ConfigModule.forRoot(config),
        TimeModule,
        DatabaseModule.forRoot(databaseUrl, ENTITIES),
        HttpModule,
        AuthModule,
        MetricsModule,
        CurrenciesModule,
        IdempotencyModule,
        GatewaysModule,
        ProviderNotificationsModule,
        LedgerModule,
        EventsModule,
        PaymentsModule,
        WebhooksModule,
        HealthModule,
        BrokerModule,
        CommandsModule,
      ],
      // Registered at construction, so that an application which is created but never started has them too.
      providers: [
        registration(OperationRegistry, OPERATIONS),
        registration(SettlementSinks, SETTLEMENT_SINKS),
        registration(EventSinks, EVENT_SINKS),
      ],
    };
  }
}

interface Registry {
  register(parts: readonly unknown[]): void;
}

function registration(registry: Type<Registry>, parts: readonly InjectionToken[]): Provider {
  return {
    provide: Symbol(`what ${registry.name} holds`),
    inject: [registry, ...parts],
    useFactory: (target: Registry, ...made: unknown[]) =>
      target.register(made.filter((part) => part !== null)),
  };
}
