import { Module } from '@nestjs/common';
import { IdempotencyWireModule } from '../idempotency/wire/idempotency-wire.module.js';
import { CancelOperation } from './cancel.operation.js';
import { CaptureOperation } from './capture.operation.js';
import { ChargeOperation } from './charge.operation.js';
import { PaymentAnswers } from './payment-answers.js';
import { PaymentListStore } from './payment-list.store.js';
import { PaymentsController } from './payments.controller.js';
import { PaymentsStore } from './payments.store.js';
import { PendingPaymentsSink } from './pending-payments.sink.js';
import { RefundOperation } from './refund.operation.js';
import { RefundsController } from './refunds.controller.js';
import { RefundsStore } from './refunds.store.js';
import { ReversalOperation } from './reversal.operation.js';
import { ReversalsController } from './reversals.controller.js';
import { ReversalsStore } from './reversals.store.js';

/** Payments, refunds and reversals: routes, operations and tables. */
@Module({
  imports: [IdempotencyWireModule],
  controllers: [PaymentsController, RefundsController, ReversalsController],
  providers: [
    PaymentsStore,
    PaymentListStore,
    PendingPaymentsSink,
    RefundsStore,
    ReversalsStore,
    PaymentAnswers,
    ChargeOperation,
    CaptureOperation,
    CancelOperation,
    RefundOperation,
    ReversalOperation,
  ],
  exports: [
    PaymentsStore,
    PendingPaymentsSink,
    RefundsStore,
    ReversalsStore,
    ChargeOperation,
    CaptureOperation,
    CancelOperation,
    RefundOperation,
    ReversalOperation,
  ],
})
export class PaymentsModule {}
