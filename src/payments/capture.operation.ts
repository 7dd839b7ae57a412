import { Inject, Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import type { Outcome } from '../domain/outcome.js';
import { captureRefusal, type Payment } from '../domain/payment.js';
import { type CancelRequest, type CaptureRequest, Gateway, type SentCall } from '../gateways/gateway.js';
import { Clock } from '../time/clock.js';
import {
  AuthorizationEndOperation,
  type AuthorizationEndWork,
  endRequest,
} from './authorization-end.operation.js';
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
    @Inject(Gateway) gateway: Gateway,
  ) {
    super(payments, clock, answers, gateway);
  }

  call(work: AuthorizationEndWork, signal: AbortSignal): Promise<Outcome> {
    return this.gateway.capture(captureRequest(work, endRequest(work)), signal);
  }

  protected sentCall(work: AuthorizationEndWork, request: CancelRequest): SentCall {
    return { kind: 'capture', request: captureRequest(work, request) };
  }

  protected refusal(payment: Payment, amountMinor: bigint | null): Refusal | null {
    return captureRefusal(payment, amountMinor);
  }

  protected stateRefusal(status: string): Refusal {
    return { code: 'payment_not_capturable', status };
  }
}

function captureRequest(
  { payment, amountMinor }: AuthorizationEndWork,
  request: CancelRequest,
): CaptureRequest {
  return { ...request, amountMinor, currency: payment.currency };
}
