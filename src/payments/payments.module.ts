import { Module } from '@nestjs/common';
import { EventsStore } from '../events/events.store.js';
import { HttpModule } from '../http/http.module.js';
import { ClaimsStore } from '../idempotency/claims.store.js';
import { IdempotencyInterceptor } from '../idempotency/idempotency.interceptor.js';
import { ReplayCache } from '../idempotency/replay-cache.js';
import { RetentionWorker } from '../idempotency/retention.worker.js';
import { LedgerStore } from '../ledger/ledger.store.js';
import { MetricsModule } from '../metrics/metrics.module.js';
import { Clock } from '../operations/clock.js';
import { OperationExecutor } from '../operations/operation.executor.js';
import { OperationRegistry } from '../operations/operation.registry.js';
import { OperationRunner } from '../operations/operation.runner.js';
import { SettlementWriter } from '../operations/settlement.writer.js';
import { RecoveryWorker } from '../recovery/recovery.worker.js';
import { ChargeOperation } from './charge.operation.js';
import { IdempotencyKeysController } from './idempotency-keys.controller.js';
import { PaymentsController } from './payments.controller.js';
import { PaymentsStore } from './payments.store.js';

/** Everything that moves money: one module, because its parts make sense only together. */
@Module({
  imports: [HttpModule, MetricsModule],
  controllers: [PaymentsController, IdempotencyKeysController],
  providers: [
    Clock,
    ClaimsStore,
    PaymentsStore,
    LedgerStore,
    EventsStore,
    ReplayCache,
    IdempotencyInterceptor,
    SettlementWriter,
    OperationExecutor,
    OperationRunner,
    OperationRegistry,
    ChargeOperation,
    RecoveryWorker,
    RetentionWorker,
  ],
})
export class PaymentsModule {}
