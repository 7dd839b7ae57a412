import { Module } from '@nestjs/common';
import { GatewayNotificationsController } from '../gateways/gateway-notifications.controller.js';
import { GatewayNotifications } from '../gateways/gateway-notifications.js';
import { GatewayNotificationsStore } from '../gateways/gateway-notifications.store.js';
import { HttpModule } from '../http/http.module.js';
import { ClaimsStore } from '../idempotency/claims.store.js';
import { OpenClaimsStore } from '../idempotency/open-claims.store.js';
import { DueClaims } from '../idempotency/due-claims.js';
import { DerivedKeysStore } from '../idempotency/derived-keys.store.js';
import { IdempotencyInterceptor } from '../idempotency/wire/idempotency.interceptor.js';
import { ReplayCache } from '../idempotency/replay-cache.js';
import { RetentionWorker } from '../idempotency/retention.worker.js';
import { LedgerStore } from '../ledger/ledger.store.js';
import { MetricsModule } from '../metrics/metrics.module.js';
import { OperationExecutor } from '../idempotency/operation.executor.js';
import { OperationRegistry } from '../idempotency/operation.registry.js';
import { OperationResumer } from '../idempotency/operation.resumer.js';
import { OperationRunner } from '../idempotency/operation.runner.js';
import { SettlementWriter } from '../idempotency/settlement.writer.js';
import { RecoveryWorker } from '../idempotency/recovery.worker.js';
import { UnknownOutcomesReport } from '../idempotency/unknown-outcomes.js';
import { Answers } from './answers.js';
import { CancelOperation } from './cancel.operation.js';
import { CaptureOperation } from './capture.operation.js';
import { ChargeOperation } from './charge.operation.js';
import { IdempotencyKeysController } from '../idempotency/wire/idempotency-keys.controller.js';
import { PaymentsController } from './payments.controller.js';
import { PaymentsStore } from './payments.store.js';
import { RefundOperation } from './refund.operation.js';
import { RefundsController } from './refunds.controller.js';
import { RefundsStore } from './refunds.store.js';
import { ReversalOperation } from './reversal.operation.js';
import { ReversalsController } from './reversals.controller.js';
import { ReversalsStore } from './reversals.store.js';

/** Everything that moves money: one module, because its parts make sense only together. */
@Module({
  imports: [HttpModule, MetricsModule],
  controllers: [
    PaymentsController,
    RefundsController,
    ReversalsController,
    IdempotencyKeysController,
    GatewayNotificationsController,
  ],
  providers: [
    ClaimsStore,
    OpenClaimsStore,
    DerivedKeysStore,
    DueClaims,
    PaymentsStore,
    RefundsStore,
    ReversalsStore,
    LedgerStore,
    ReplayCache,
    IdempotencyInterceptor,
    SettlementWriter,
    OperationExecutor,
    OperationRunner,
    OperationRegistry,
    OperationResumer,
    Answers,
    ChargeOperation,
    CaptureOperation,
    CancelOperation,
    RefundOperation,
    ReversalOperation,
    GatewayNotificationsStore,
    GatewayNotifications,
    RecoveryWorker,
    UnknownOutcomesReport,
    RetentionWorker,
  ],
  exports: [UnknownOutcomesReport, OperationRunner, OperationRegistry, Answers],
})
export class PaymentsModule {}
