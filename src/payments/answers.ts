import { Injectable } from '@nestjs/common';
import type { Refusal } from '../domain/errors.js';
import type { Payment } from '../domain/payment.js';
import type { Refund } from '../domain/refund.js';
import type { Reversal } from '../domain/reversal.js';
import { PROBLEM_MEDIA_TYPE, renderProblem } from '../http/problem-table.js';
import { PublicUrl } from '../http/public-url.js';
import type { StoredAnswer } from '../idempotency/claims.store.js';
import { paymentToWire } from './payment.dto.js';
import { refundToWire } from './refund.dto.js';
import { reversalToWire } from './reversal.dto.js';

export const JSON_MEDIA_TYPE = 'application/json; charset=utf-8';

/** Writes what operations answer, as the bytes that are stored and replayed. */
@Injectable()
export class Answers {
  constructor(private readonly publicUrl: PublicUrl) {}

  /** `location` is for a payment that this answer created. */
  payment(status: 200 | 201 | 202, payment: Payment): StoredAnswer {
    return {
      status,
      contentType: JSON_MEDIA_TYPE,
      location: status === 200 ? null : `/v1/payments/${payment.transactionId}`,
      body: JSON.stringify(paymentToWire(payment)),
    };
  }

  refund(status: 201 | 202, refund: Refund): StoredAnswer {
    return {
      status,
      contentType: JSON_MEDIA_TYPE,
      location: `/v1/refunds/${refund.refundId}`,
      body: JSON.stringify(refundToWire(refund)),
    };
  }

  reversal(status: 201 | 202, reversal: Reversal): StoredAnswer {
    return {
      status,
      contentType: JSON_MEDIA_TYPE,
      location: `/v1/reversals/${reversal.reversalId}`,
      body: JSON.stringify(reversalToWire(reversal)),
    };
  }

  /** A refusal that is final for its key. */
  problem(refusal: Refusal, requestId: string): StoredAnswer {
    const { status, body } = renderProblem(refusal, { requestId, publicUrl: this.publicUrl.base });
    return { status, contentType: PROBLEM_MEDIA_TYPE, location: null, body };
  }
}
