import { Inject, Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import type { Finding, Outcome } from '../domain/outcome.js';
import { cancelRefusal, type Payment } from '../domain/payment.js';
import { Gateway } from '../gateways/gateway.js';
import { Clock } from '../time/clock.js';
import { AuthorizationEndOperation, type AuthorizationEndWork } from './authorization-end.operation.js';
import { PaymentAnswers } from './payment-answers.js';
import { PaymentsStore } from './payments.store.js';

/** Gives up an authorized payment. */
@Injectable()
export class CancelOperation extends AuthorizationEndOperation {
  readonly name = 'cancel';
  protected readonly eventType = 'payment.canceled';

  constructor(
    payments: PaymentsStore,
    clock: Clock,
    answers: PaymentAnswers,
    @Inject(Gateway) private readonly gateway: Gateway,
  ) {
    super(payments, clock, answers);
  }

  call({ payment, gatewayKey }: AuthorizationEndWork, signal: AbortSignal): Promise<Outcome> {
    return this.gateway.cancel(
      {
        gatewayKey,
        transactionId: payment.transactionId,
        reference: payment.gatewayReference ?? '',
      },
      signal,
    );
  }

  inquire(
    { payment, gatewayKey }: AuthorizationEndWork,
    unknownSince: Date,
    signal: AbortSignal,
  ): Promise<Finding> {
    return this.gateway.inquire(
      {
        kind: 'cancel',
        gatewayKey,
        transactionId: payment.transactionId,
        refundId: null,
        reference: payment.gatewayReference,
        unknownSince,
      },
      signal,
    );
  }

  protected refusal(payment: Payment): Refusal | null {
    return cancelRefusal(payment);
  }

  protected stateRefusal(status: string): Refusal {
    return { code: 'payment_not_cancelable', status };
  }
}
