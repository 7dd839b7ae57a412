import { Global, Module, type DynamicModule } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { CONFIG, type Config } from '../config/config.js';
import { dataSourceOptions, type Entities } from './data-source.js';
import { Listener } from './listener.js';
import { PipelinedTransactions } from './pipelined-transactions.js';

/** Connects to `databaseUrl`: the configured database, or the embedded one that was just started. */
@Global()
@Module({})
export class DatabaseModule {
  static forRoot(databaseUrl: string, entities: Entities): DynamicModule {
    return {
      module: DatabaseModule,
      imports: [
        TypeOrmModule.forRootAsync({
          inject: [CONFIG],
          useFactory: (config: Config) => ({
            ...dataSourceOptions(databaseUrl, entities, config.databasePoolSize),
            // One clear error at once is better than a minute of silent retries.
            retryAttempts: 0,
          }),
        }),
      ],
      providers: [PipelinedTransactions, Listener],
      exports: [PipelinedTransactions, Listener],
    };
  }
}
