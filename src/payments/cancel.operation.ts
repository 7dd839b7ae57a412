import { Inject, Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import { cancelRefusal, type Payment } from '../domain/payment.js';
import type { Finding, Outcome } from '../domain/outcome.js';
import { Gateway } from '../gateways/gateway.js';
import { Clock } from '../time/clock.js';
import { Answers } from './answers.js';
import { ClosingOperation, type ClosingWork } from './closing.operation.js';
import { PaymentsStore } from './payments.store.js';

/** Gives an authorized payment up. */
@Injectable()
export class CancelOperation extends ClosingOperation {
  readonly name = 'cancel';
  protected readonly eventType = 'payment.canceled';

  constructor(
    payments: PaymentsStore,
    clock: Clock,
    answers: Answers,
    @Inject(Gateway) private readonly gateway: Gateway,
  ) {
    super(payments, clock, answers);
  }

  call({ payment, gatewayKey }: ClosingWork, signal: AbortSignal): Promise<Outcome> {
    return this.gateway.cancel(
      {
        gatewayKey,
        transactionId: payment.transactionId,
        reference: payment.gatewayReference ?? '',
      },
      signal,
    );
  }

  find({ payment, gatewayKey }: ClosingWork, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
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
