import { Inject, Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import { captureRefusal, type Payment } from '../domain/payment.js';
import type { Finding, Outcome } from '../domain/outcome.js';
import { Gateway } from '../gateways/gateway.js';
import { Clock } from '../time/clock.js';
import { Answers } from './answers.js';
import { ClosingOperation, type ClosingWork } from './closing.operation.js';
import { PaymentsStore } from './payments.store.js';

/** Takes all or a part of an authorized payment, once; the rest is given up. */
@Injectable()
export class CaptureOperation extends ClosingOperation {
  readonly name = 'capture';
  protected readonly eventType = 'payment.completed';

  constructor(
    payments: PaymentsStore,
    clock: Clock,
    answers: Answers,
    @Inject(Gateway) private readonly gateway: Gateway,
  ) {
    super(payments, clock, answers);
  }

  call({ payment, amountMinor, gatewayKey }: ClosingWork, signal: AbortSignal): Promise<Outcome> {
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

  find({ payment, gatewayKey }: ClosingWork, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
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
