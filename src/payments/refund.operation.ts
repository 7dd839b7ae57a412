import { Inject, Injectable } from '@nestjs/common';
import type { Transaction } from '../database/pipelined-transactions.js';
import type { Refusal } from '../domain/errors.js';
import type { FinalOutcome, Finding, LostTail, Outcome } from '../domain/outcome.js';
import { refundRefusal, type Payment } from '../domain/payment.js';
import { refundPostings } from '../domain/postings.js';
import type { Refund } from '../domain/refund.js';
import { Gateway, type RefundRequest } from '../gateways/gateway.js';
import type { Claim, ClaimState, StoredAnswer } from '../idempotency/claims.store.js';
import {
  callStep,
  type GatewayOperation,
  type Made,
  type NextStep,
  type IncomingRequest,
  type OperationRequest,
} from '../idempotency/operation.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';
import type { Settlement } from '../idempotency/settlement.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { Clock } from '../time/clock.js';
import type { RefundCommand } from './commands.js';
import { callUnderKey, earlier } from './gateway-request.js';
import { PaymentAnswers } from './payment-answers.js';
import { PaymentsStore } from './payments.store.js';
import { type NewRefund, type RefundOrigin, REFUNDS, RefundsStore } from './refunds.store.js';
import { announced, refundEvent, transfer } from './settled-writes.js';

/** A pending refund whose amount is reserved, and its payment. */
interface RefundWork {
  refund: Refund;
  payment: Payment;
}

/** Gives money back, in as many parts as the client likes, until nothing is left. */
@Injectable()
export class RefundOperation implements GatewayOperation<RefundCommand, RefundWork> {
  readonly name = 'refund';

  constructor(
    private readonly payments: PaymentsStore,
    private readonly refunds: RefundsStore,
    @Inject(Gateway) private readonly gateway: Gateway,
    private readonly clock: Clock,
    private readonly answers: PaymentAnswers,
  ) {}

  /** Carries the refund's `created_at`, so ids sort by creation time. */
  newResourceId({ receivedAt }: IncomingRequest<RefundCommand>): string {
    return uuidv7(receivedAt.getTime());
  }

  subjectOf({ merchantId, command }: OperationRequest<RefundCommand>): string {
    return merchantId + command.transactionId;
  }

  /** Takes the amount from the payment first, then inserts the refund where that succeeded. */
  async reserve(tx: Transaction, requests: readonly OperationRequest<RefundCommand>[]): Promise<ScopedKey[]> {
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
    return inserted;
  }

  async proceed(claim: Claim, { command, requestId }: OperationRequest<RefundCommand>): Promise<NextStep> {
    const origin = await this.refunds.findByKey(claim);
    const payment = await this.payments.find(claim.merchantId, command.transactionId);
    // The payment was pending when the route read it, and its charge has been released since: there is nothing to act
    // on.
    if (payment === null) return { step: 'release' };
    if (origin !== null) return this.next(claim, origin, payment, requestId);
    const refusal = refundRefusal(payment, command.amountMinor) ?? leftOf(payment);
    const answer = this.answers.problem(refusal, requestId);
    return { step: 'settle', settlement: { claim, answer, replayed: false, onlyHere: true, writes: [] } };
  }

  /**
   * A claim without a refund was refused, but its owner died before it could answer. The claim alone does not name the
   * payment, so we release the key: nothing was reserved, and the next request under this key gets the refusal.
   */
  async resume(claim: Claim, requestId: string): Promise<NextStep> {
    const origin = await this.refunds.findByKey(claim);
    if (origin === null) return { step: 'release' };
    const payment = await this.read(claim.merchantId, origin.refund.transactionId);
    return this.next(claim, origin, payment, requestId);
  }

  call(work: RefundWork, signal: AbortSignal): Promise<Outcome> {
    return this.gateway.refund(refundRequest(work), signal);
  }

  inquire(work: RefundWork, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    return this.gateway.inquire({ kind: 'refund', request: refundRequest(work) }, unknownSince, signal);
  }

  lookUp(work: RefundWork, lost: LostTail, signal: AbortSignal): Promise<Finding> {
    const request = refundRequest(work, lost.since);
    return this.gateway.lookUp({ kind: 'refund', request }, lost, signal);
  }

  conclude(claim: Claim, work: RefundWork, outcome: FinalOutcome, requestId: string): Settlement {
    const updatedAt = this.clock.now();
    const approved = outcome.kind === 'approved';
    const refund: Refund = {
      ...work.refund,
      status: approved ? 'completed' : 'failed',
      failure: approved ? null : outcome.failure,
      updatedAt,
    };
    const { refundId, amount, failure } = refund;
    const { merchantId, transactionId, status } = work.payment;
    return {
      claim: { ...claim, resourceId: refundId },
      answer: this.finalAnswer(refund, requestId),
      replayed: false,
      writes: [
        ...announced(
          {
            merchantId,
            transactionId,
            from: status,
            to: status,
            amountCaptured: null,
            refundGivenBack: approved ? 0n : amount,
            failure: null,
            gatewayReference: null,
            updatedAt,
          },
          refundEvent(approved ? 'refund.completed' : 'refund.failed', refund, updatedAt),
        ),
        REFUNDS.put({
          refundId,
          to: refund.status,
          failure,
          gatewayReference: approved ? outcome.reference : null,
          updatedAt,
        }),
        ...(approved ? [transfer(refund, refundPostings(amount), updatedAt)] : []),
      ],
    };
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.refunds.undoPending(tx, claims);
  }

  pendingAnswer({ refund }: RefundWork): StoredAnswer {
    return this.answers.refund(202, refund);
  }

  async originalFingerprint(request: OperationRequest<RefundCommand>): Promise<string | null> {
    return (await this.refunds.findByKey(request))?.fingerprint ?? null;
  }

  /** If the payment did not allow the refund, there is no refund to point to. */
  resourcePath({ status, answer, resourceId }: Pick<ClaimState, 'status' | 'answer' | 'resourceId'>) {
    return status === 'released' || answer?.status === 409 ? null : `/v1/refunds/${resourceId}`;
  }

  async madeUnder(key: ScopedKey): Promise<Made | null> {
    const origin = await this.refunds.findByKey(key);
    return origin && { resourceId: origin.refund.refundId, createdAt: origin.refund.createdAt };
  }

  /**
   * The key already has a refund. If it is pending, call again; otherwise it replaces the stored answer that was
   * reaped.
   */
  private next(
    claim: Claim,
    { refund, fingerprint }: RefundOrigin,
    payment: Payment,
    requestId: string,
  ): NextStep {
    if (refund.status === 'pending') return callStep(this, claim, { refund, payment }, requestId);
    const original = { ...claim, fingerprint, resourceId: refund.refundId };
    const answer = this.finalAnswer(refund, requestId);
    return { step: 'settle', settlement: { claim: original, answer, replayed: true, writes: [] } };
  }

  private finalAnswer(refund: Refund, requestId: string): StoredAnswer {
    if (refund.failure === null) return this.answers.refund(201, refund);
    const { transactionId, refundId } = refund;
    return this.answers.problem({ ...refund.failure, transactionId, refundId }, requestId);
  }

  private async read(merchantId: string, transactionId: string): Promise<Payment> {
    const payment = await this.payments.find(merchantId, transactionId);
    if (payment === null) throw new Error(`there is no payment ${transactionId} to refund`);
    return payment;
  }
}

function refundRequest({ refund, payment }: RefundWork, sentSince = refund.createdAt): RefundRequest {
  const { gatewayKey, transactionId, refundId, amount, currency, createdAt } = refund;
  return {
    ...callUnderKey(gatewayKey, { transactionId, refundId }, earlier(sentSince, createdAt)),
    reference: payment.gatewayReference ?? '',
    amountMinor: amount,
    currency,
  };
}

/** Why a refund was refused at reservation, even if it would fit by now. */
function leftOf(payment: Payment): Refusal {
  return { code: 'amount_too_large', available: String(payment.amountCaptured - payment.amountRefunded) };
}
