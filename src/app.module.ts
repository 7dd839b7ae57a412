import { Module, type DynamicModule } from '@nestjs/common';
import { AuthModule } from './auth/auth.module.js';
import { CommandsModule } from './broker/commands.module.js';
import { ConfigModule } from './config/config.module.js';
import type { Config } from './config/config.js';
import { CurrenciesModule } from './currencies/currencies.module.js';
import { DatabaseModule } from './database/database.module.js';
import { EventsModule } from './events/events.module.js';
import { GatewaysModule } from './gateways/gateways.module.js';
import { HealthModule } from './health/health.module.js';
import { HttpModule } from './http/http.module.js';
import { LedgerModule } from './ledger/ledger.module.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { PaymentsModule } from './payments/payments.module.js';
import { WebhooksModule } from './webhooks/webhooks.module.js';

@Module({})
export class AppModule {
  static forRoot(config: Config, databaseUrl: string): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ConfigModule.forRoot(config),
        DatabaseModule.forRoot(databaseUrl),
        HttpModule,
        AuthModule,
        MetricsModule,
        GatewaysModule,
        EventsModule,
        PaymentsModule,
        LedgerModule,
        CommandsModule,
        CurrenciesModule,
        HealthModule,
        WebhooksModule,
      ],
    };
  }
}
