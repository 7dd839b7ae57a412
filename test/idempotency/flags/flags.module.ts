import { Module } from '@nestjs/common';
import { IdempotencyWireModule } from '../../../src/idempotency/wire/idempotency-wire.module.js';
import { PaymentsModule } from '../../../src/payments/payments.module.js';
import { FlagProvider } from './flag-provider.js';
import { FlagOperation } from './flag.operation.js';
import { FlagsController } from './flags.controller.js';
import { FlagsStore } from './flags.store.js';

/** A room like one of `src/`: a route, an operation, a table. */
@Module({
  imports: [IdempotencyWireModule, PaymentsModule],
  controllers: [FlagsController],
  providers: [FlagOperation, FlagsStore, FlagProvider],
  exports: [FlagOperation, FlagsStore, FlagProvider],
})
export class FlagsModule {}
