import { Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import type { Payment } from '../domain/payment.js';
import type { Refund } from '../domain/refund.js';
import type { Reversal } from '../domain/reversal.js';
import type { StoredAnswer } from '../idempotency/claims.store.js';
import { Answers } from '../idempotency/wire/answers.js';
import { paymentToWire } from './payment.dto.js';
import { refundToWire } from './refund.dto.js';
import { reversalToWire } from './reversal.dto.js';

/** The answers of the operations on payments. */
@Injectable()
export class PaymentAnswers {
  constructor(private readonly answers: Answers) {}

  /** Status 200 means that the payment was changed, any other that it was created. */
  payment(status: 200 | 201 | 202, payment: Payment): StoredAnswer {
    const location = status === 200 ? null : `/v1/payments/${payment.transactionId}`;
    return this.answers.json(status, paymentToWire(payment), location);
  }

  refund(status: 201 | 202, refund: Refund): StoredAnswer {
    return this.answers.json(status, refundToWire(refund), `/v1/refunds/${refund.refundId}`);
  }

  reversal(status: 201 | 202, reversal: Reversal): StoredAnswer {
    return this.answers.json(status, reversalToWire(reversal), `/v1/reversals/${reversal.reversalId}`);
  }

  /** A refusal that is final for its key. */
  problem(refusal: Refusal, requestId: string): StoredAnswer {
    return this.answers.problem(refusal, requestId);
  }
}
