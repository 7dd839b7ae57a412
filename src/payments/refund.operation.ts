import { Inject, Injectable } from '@nestjs/common';
import { uuidv7 } from '../ids/uuidv7.js';
import type { Transaction } from '../database/pipelined-transactions.js';
import type { Refusal } from '../domain/errors.js';
import { refundRefusal, type Payment } from '../domain/payment.js';
import { refundPostings } from '../domain/postings.js';
import type { Refund } from '../domain/refund.js';
import type { FinalOutcome, Finding, Outcome } from '../domain/outcome.js';
import { Gateway } from '../gateways/gateway.js';
import type { Claim, StoredAnswer } from '../idempotency/claims.store.js';
import { Clock } from '../time/clock.js';
import type {
  NextStep,
  Operation,
  OperationRequest,
  Reserved,
  Settlement,
} from '../idempotency/operation.js';
import { Answers } from './answers.js';
import { PaymentsStore } from './payments.store.js';
import { refundToWire } from './refund.dto.js';
import { type NewRefund, type RefundOrigin, RefundsStore } from './refunds.store.js';

/** A request to give money back. A null amount is all that is left. */
export interface RefundCommand {
  transactionId: string;
  amountMinor: bigint | null;
  reason: string | null;
}

/** A pending refund whose amount is reserved, and the key under which the gateway is asked. */
interface RefundWork {
  refund: Refund;
  payment: Payment;
  gatewayKey: string;
}

/** Gives money back: many times, in parts, until nothing is left. */
@Injectable()
export class RefundOperation implements Operation<RefundCommand, RefundWork> {
  readonly name = 'refund';

  constructor(
    private readonly payments: PaymentsStore,
    private readonly refunds: RefundsStore,
    @Inject(Gateway) private readonly gateway: Gateway,
    private readonly clock: Clock,
    private readonly answers: Answers,
  ) {}

  /** Its time is the refund's `created_at`, so that the order of ids is the order of creation. */
  newResourceId({ receivedAt }: OperationRequest<RefundCommand>): string {
    return uuidv7(receivedAt.getTime());
  }

  subjectOf({ merchantId, command }: OperationRequest<RefundCommand>): string {
    return merchantId + command.transactionId;
  }

  /** The amount is taken from the payment first; the refund is inserted where that succeeded. */
  async reserve(tx: Transaction, requests: readonly OperationRequest<RefundCommand>[]): Promise<Reserved[]> {
    const refunds = requests.map(({ merchantId, idempotencyKey, receivedAt, command }): NewRefund => ({
      merchantId,
      idempotencyKey,
      receivedAt,
      transactionId: command.transactionId,
      amount: command.amountMinor,
      reason: command.reason,
    }));
    const [, inserted] = await Promise.all([
      this.payments.reserveRefunds(tx, refunds),
      this.refunds.insertPending(tx, refunds),
    ]);
    return inserted.map((key) => ({ ...key, inserted: true }));
  }

  async proceed(
    claim: Claim,
    { command, requestId }: OperationRequest<RefundCommand>,
  ): Promise<NextStep<RefundWork>> {
    const origin = await this.refunds.findByKey(claim);
    const payment = await this.payments.find(claim.merchantId, command.transactionId);
    // It was pending when the route saw it, and its charge has been given back since: there is none to act on.
    if (payment === null) return { step: 'release' };
    if (origin !== null) return this.next(claim, origin, payment, requestId);
    const refusal = refundRefusal(payment, command.amountMinor) ?? leftOf(payment);
    return { step: 'settle', settlement: this.refused(claim, refusal, requestId) };
  }

  async originalFingerprint(request: OperationRequest<RefundCommand>): Promise<string | null> {
    return (await this.refunds.findByKey(request))?.fingerprint ?? null;
  }

  /**
   * A claim without a refund was refused, and its owner was lost before it could say why. The payment is not known
   * from the claim alone, so the key is given back: nothing was reserved, and the next request with it hears the reason.
   */
  async resume(claim: Claim, requestId: string): Promise<NextStep<RefundWork>> {
    const origin = await this.refunds.findByKey(claim);
    if (origin === null) return { step: 'release' };
    const payment = await this.read(claim.merchantId, origin.refund.transactionId);
    return this.next(claim, origin, payment, requestId);
  }

  call({ refund, payment, gatewayKey }: RefundWork, signal: AbortSignal): Promise<Outcome> {
    return this.gateway.refund(
      {
        gatewayKey,
        refundId: refund.refundId,
        transactionId: refund.transactionId,
        reference: payment.gatewayReference ?? '',
        amountMinor: refund.amount,
        currency: refund.currency,
      },
      signal,
    );
  }

  find(
    { refund, payment, gatewayKey }: RefundWork,
    unknownSince: Date,
    signal: AbortSignal,
  ): Promise<Finding> {
    return this.gateway.inquire(
      {
        kind: 'refund',
        gatewayKey,
        transactionId: payment.transactionId,
        refundId: refund.refundId,
        reference: payment.gatewayReference,
        unknownSince,
      },
      signal,
    );
  }

  settle(claim: Claim, work: RefundWork, outcome: FinalOutcome, requestId: string): Settlement {
    const updatedAt = this.clock.now();
    const approved = outcome.kind === 'approved';
    const refund: Refund = {
      ...work.refund,
      status: approved ? 'completed' : 'failed',
      failure: approved ? null : outcome.failure,
      updatedAt,
    };
    const { merchantId, transactionId, status } = work.payment;
    return {
      claim: { ...claim, resourceId: refund.refundId },
      answer: this.finalAnswer(refund, requestId),
      replayed: false,
      payment: {
        merchantId,
        transactionId,
        from: status,
        to: status,
        amountCaptured: null,
        refundGivenBack: approved ? 0n : refund.amount,
        failure: null,
        gatewayReference: null,
        updatedAt,
      },
      refund: {
        refundId: refund.refundId,
        to: refund.status,
        failure: refund.failure,
        gatewayReference: approved ? outcome.reference : null,
        updatedAt,
      },
      ...(approved && {
        ledger: {
          ledgerTransactionId: uuidv7(),
          transactionId,
          currency: refund.currency,
          postings: refundPostings(refund.amount),
          createdAt: updatedAt,
        },
      }),
      event: {
        merchantId,
        eventId: uuidv7(updatedAt.getTime()),
        type: approved ? 'refund.completed' : 'refund.failed',
        transactionId,
        resource: JSON.stringify(refundToWire(refund)),
        createdAt: updatedAt,
      },
    };
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.refunds.undoPending(tx, claims);
  }

  pendingAnswer({ refund }: RefundWork): StoredAnswer {
    return this.answers.refund(202, refund);
  }

  /** The key has a refund: a pending one is asked for again, any other is the original of a reaped answer. */
  private next(
    claim: Claim,
    { refund, claimId: gatewayKey, fingerprint }: RefundOrigin,
    payment: Payment,
    requestId: string,
  ): NextStep<RefundWork> {
    if (refund.status === 'pending') return { step: 'call', work: { refund, payment, gatewayKey } };
    const original = { ...claim, fingerprint, resourceId: refund.refundId };
    const answer = this.finalAnswer(refund, requestId);
    return { step: 'settle', settlement: { claim: original, answer, replayed: true } };
  }

  private finalAnswer(refund: Refund, requestId: string): StoredAnswer {
    if (refund.failure === null) return this.answers.refund(201, refund);
    const { transactionId, refundId } = refund;
    return this.answers.problem({ ...refund.failure, transactionId, refundId }, requestId);
  }

  private refused(claim: Claim, refusal: Refusal, requestId: string): Settlement {
    return { claim, answer: this.answers.problem(refusal, requestId), replayed: false };
  }

  private async read(merchantId: string, transactionId: string): Promise<Payment> {
    const payment = await this.payments.find(merchantId, transactionId);
    if (payment === null) throw new Error(`there is no payment ${transactionId} to refund`);
    return payment;
  }
}

/** What was refused when it was reserved, though it would fit by now. */
function leftOf(payment: Payment): Refusal {
  return { code: 'amount_too_large', available: String(payment.amountCaptured - payment.amountRefunded) };
}
