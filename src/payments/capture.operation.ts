import { Inject, Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import type { Finding, Outcome } from '../domain/outcome.js';
import { captureRefusal, type Payment } from '../domain/payment.js';
import { Gateway } from '../gateways/gateway.js';
import { Clock } from '../time/clock.js';
import { AuthorizationEndOperation, type AuthorizationEndWork } from './authorization-end.operation.js';
import { PaymentAnswers } from './payment-answers.js';
import { PaymentsStore } from './payments.store.js';

/** Takes all or part of an authorized payment, once. The rest is given up. */
@Injectable()
export class CaptureOperation extends AuthorizationEndOperation {
  readonly name = 'capture';
  protected readonly eventType = 'payment.completed';

  constructor(
    payments: PaymentsStore,
    clock: Clock,
    answers: PaymentAnswers,
    @Inject(Gateway) private readonly gateway: Gateway,
  ) {
    super(payments, clock, answers);
  }

  call({ payment, amountMinor, gatewayKey }: AuthorizationEndWork, signal: AbortSignal): Promise<Outcome> {
    return this.gateway.capture(
      {
        gatewayKey,
        transactionId: payment.transactionId,
        reference: payment.gatewayReference ?? '',
        amountMinor,
        currency: payment.currency,
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
        kind: 'capture',
        gatewayKey,
        transactionId: payment.transactionId,
        refundId: null,
        reference: payment.gatewayReference,
        unknownSince,
      },
      signal,
    );
  }

  protected refusal(payment: Payment, amountMinor: bigint | null): Refusal | null {
    return captureRefusal(payment, amountMinor);
  }

  protected stateRefusal(status: string): Refusal {
    return { code: 'payment_not_capturable', status };
  }
}
