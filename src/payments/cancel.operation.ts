import { Inject, Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import type { Outcome } from '../domain/outcome.js';
import { cancelRefusal, type Payment } from '../domain/payment.js';
import { type CancelRequest, Gateway, type SentCall } from '../gateways/gateway.js';
import { Clock } from '../time/clock.js';
import {
  AuthorizationEndOperation,
  type AuthorizationEndWork,
  endRequest,
} from './authorization-end.operation.js';
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
    @Inject(Gateway) gateway: Gateway,
  ) {
    super(payments, clock, answers, gateway);
  }

  call(work: AuthorizationEndWork, signal: AbortSignal): Promise<Outcome> {
    return this.gateway.cancel(endRequest(work), signal);
  }

  protected sentCall(_work: AuthorizationEndWork, request: CancelRequest): SentCall {
    return { kind: 'cancel', request };
  }

  protected refusal(payment: Payment): Refusal | null {
    return cancelRefusal(payment);
  }

  protected stateRefusal(status: string): Refusal {
    return { code: 'payment_not_cancelable', status };
  }
}
