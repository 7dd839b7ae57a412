import { Module } from '@nestjs/common';
import { ClaimsStore } from './claims.store.js';
import { DerivedKeysStore } from './derived-keys.store.js';
import { DueClaims } from './due-claims.js';
import { LockWaitsReport } from './lock-waits.js';
import { GatewayKeys } from './gateway-key.js';
import { ExpiredAnswersStore } from './expired-answers.store.js';
import { OpenClaimsStore } from './open-claims.store.js';
import { OperationExecutor } from './operation.executor.js';
import { OperationRegistry } from './operation.registry.js';
import { OperationResumer } from './operation.resumer.js';
import { OperationRunner } from './operation.runner.js';
import { RecoveryWorker } from './recovery.worker.js';
import { ReplayCache } from './replay-cache.js';
import { RetentionWorker } from './retention.worker.js';
import { SettlementSinks } from './settlement-sinks.js';
import { SettlementWriter } from './settlement.writer.js';
import { SealedKeysStore } from './sealed-keys.store.js';
import { UnknownOutcomesReport } from './unknown-outcomes.js';

/** The engine: it makes any operation exactly-once. It knows neither payments nor HTTP. */
@Module({
  providers: [
    ClaimsStore,
    OpenClaimsStore,
    SealedKeysStore,
    DerivedKeysStore,
    GatewayKeys,
    ExpiredAnswersStore,
    DueClaims,
    ReplayCache,
    OperationRegistry,
    SettlementSinks,
    SettlementWriter,
    OperationExecutor,
    OperationRunner,
    OperationResumer,
    RecoveryWorker,
    RetentionWorker,
    UnknownOutcomesReport,
    LockWaitsReport,
  ],
  exports: [
    ClaimsStore,
    OpenClaimsStore,
    SealedKeysStore,
    DueClaims,
    OperationRegistry,
    OperationResumer,
    OperationRunner,
    ReplayCache,
    SettlementSinks,
    UnknownOutcomesReport,
  ],
})
export class IdempotencyModule {}
