import { Inject, Injectable } from '@nestjs/common';
import type { Transaction } from '../database/pipelined-transactions.js';
import type { FinalOutcome, Finding, LostTail, Outcome } from '../domain/outcome.js';
import { nextStatus, type Payment, type PaymentStatus } from '../domain/payment.js';
import { capturePostings } from '../domain/postings.js';
import type { EventType } from '../events/event.js';
import { type ChargeRequest, Gateway } from '../gateways/gateway.js';
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
import type { Settlement, Write } from '../idempotency/settlement.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { Metrics } from '../metrics/metrics.js';
import { Clock } from '../time/clock.js';
import type { ChargeCommand } from './commands.js';
import { callUnderKey, earlier } from './gateway-request.js';
import { PaymentAnswers } from './payment-answers.js';
import { PaymentsStore } from './payments.store.js';
import { PENDING_PAYMENTS } from './pending-payments.sink.js';
import { announced, paymentEvent, transfer } from './settled-writes.js';

/** Takes a payment, or authorizes one that is captured later. */
@Injectable()
export class ChargeOperation implements GatewayOperation<ChargeCommand, Payment> {
  readonly name = 'charge';

  constructor(
    private readonly payments: PaymentsStore,
    @Inject(Gateway) private readonly gateway: Gateway,
    private readonly clock: Clock,
    private readonly answers: PaymentAnswers,
    private readonly metrics: Metrics,
  ) {}

  /** Carries the payment's `created_at`, so ids sort by creation time. */
  newResourceId({ receivedAt }: IncomingRequest<ChargeCommand>): string {
    return uuidv7(receivedAt.getTime());
  }

  reserve(tx: Transaction, requests: readonly OperationRequest<ChargeCommand>[]): Promise<ScopedKey[]> {
    return this.payments.insertPending(tx, requests);
  }

  async proceed(
    claim: Claim,
    request: OperationRequest<ChargeCommand>,
    reserved: boolean,
  ): Promise<NextStep> {
    if (!reserved) return this.resume(claim, request.requestId);
    return callStep(this, claim, pendingPayment(claim, request), request.requestId);
  }

  /**
   * The key already has a payment. If it is pending, its owner died: call again under the payment's gateway key, which
   * the gateway knows, whatever key the claim has. Any other status means that the stored answer was reaped, so answer with the payment itself.
   */
  async resume(claim: Claim, requestId: string): Promise<NextStep> {
    const origin = await this.payments.findByKey(claim);
    if (origin === null) throw new Error(`claim ${claim.claimId} has no payment`);
    const { payment, fingerprint } = origin;
    if (payment.status === 'pending') return callStep(this, claim, payment, requestId);
    const original: Claim = { ...claim, fingerprint, resourceId: payment.transactionId };
    const answer = this.finalAnswer(payment, requestId);
    return { step: 'settle', settlement: { claim: original, answer, replayed: true, writes: [] } };
  }

  async call(payment: Payment, signal: AbortSignal): Promise<Outcome> {
    const outcome = await this.gateway.charge(chargeRequest(payment), signal);
    this.metrics.charged(outcome.kind);
    return outcome;
  }

  inquire(payment: Payment, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    return this.gateway.inquire({ kind: 'charge', request: chargeRequest(payment) }, unknownSince, signal);
  }

  lookUp(payment: Payment, lost: LostTail, signal: AbortSignal): Promise<Finding> {
    const request = chargeRequest(payment, lost.since);
    return this.gateway.lookUp({ kind: 'charge', request }, lost, signal);
  }

  conclude(claim: Claim, pending: Payment, outcome: FinalOutcome, requestId: string): Settlement {
    const updatedAt = this.clock.now();
    const payment = charged(pending, outcome, updatedAt);
    const { merchantId, transactionId, status, amountCaptured, failure } = payment;
    return {
      claim: { ...claim, resourceId: transactionId },
      answer: this.finalAnswer(payment, requestId),
      replayed: false,
      writes: [
        ...announced(
          {
            merchantId,
            transactionId,
            from: pending.status,
            to: status,
            amountCaptured,
            failure,
            gatewayReference: outcome.kind === 'approved' ? outcome.reference : null,
            updatedAt,
          },
          paymentEvent(eventType(status), payment, updatedAt),
        ),
        ...(amountCaptured > 0n ? [transfer(payment, capturePostings(amountCaptured), updatedAt)] : []),
      ],
    };
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.payments.deletePending(tx, claims);
  }

  pendingAnswer(payment: Payment): StoredAnswer {
    return this.answers.payment(202, payment);
  }

  pendingWrites(payment: Payment): readonly Write[] {
    const { transactionId } = payment;
    return [
      PENDING_PAYMENTS.put({ transactionId }),
      paymentEvent('payment.pending', payment, this.clock.now()),
    ];
  }

  async originalFingerprint(request: OperationRequest<ChargeCommand>): Promise<string | null> {
    return (await this.payments.findByKey(request))?.fingerprint ?? null;
  }

  resourcePath({ status, resourceId }: Pick<ClaimState, 'status' | 'resourceId'>): string | null {
    return status === 'released' ? null : `/v1/payments/${resourceId}`;
  }

  async madeUnder(key: ScopedKey): Promise<Made | null> {
    const origin = await this.payments.findByKey(key);
    return origin && { resourceId: origin.payment.transactionId, createdAt: origin.payment.createdAt };
  }

  private finalAnswer(payment: Payment, requestId: string): StoredAnswer {
    const { failure, transactionId } = payment;
    if (failure === null) return this.answers.payment(201, payment);
    return this.answers.problem({ ...failure, transactionId }, requestId);
  }
}

function chargeRequest(payment: Payment, sentSince = payment.createdAt): ChargeRequest {
  const { gatewayKey, transactionId, amount, currency, paymentMethod, captureMethod, createdAt } = payment;
  return {
    ...callUnderKey(gatewayKey, { transactionId, refundId: null }, earlier(sentSince, createdAt)),
    amountMinor: amount,
    currency,
    paymentMethod,
    captureMethod,
  };
}

function pendingPayment(claim: Claim, { command, receivedAt }: OperationRequest<ChargeCommand>): Payment {
  return {
    transactionId: claim.resourceId,
    merchantId: claim.merchantId,
    gatewayKey: claim.gatewayKey,
    userId: command.userId,
    amount: command.amountMinor,
    amountCaptured: 0n,
    amountRefunded: 0n,
    currency: command.currency,
    status: 'pending',
    paymentMethod: command.paymentMethod,
    captureMethod: command.captureMethod,
    description: command.description,
    metadata: command.metadata,
    failure: null,
    gatewayReference: null,
    hold: null,
    createdAt: receivedAt,
    updatedAt: receivedAt,
  };
}

/** The payment after the gateway's outcome. */
function charged(pending: Payment, outcome: FinalOutcome, updatedAt: Date): Payment {
  if (outcome.kind === 'declined') {
    return { ...pending, status: after(pending, 'decline'), failure: outcome.failure, updatedAt };
  }
  if (pending.captureMethod === 'manual')
    return { ...pending, status: after(pending, 'authorize'), updatedAt };
  return { ...pending, status: after(pending, 'approve'), amountCaptured: pending.amount, updatedAt };
}

function after(payment: Payment, transition: 'approve' | 'authorize' | 'decline'): PaymentStatus {
  const status = nextStatus(payment.status, transition);
  if (status === null) throw new Error(`a ${payment.status} payment cannot ${transition}`);
  return status;
}

function eventType(status: PaymentStatus): EventType {
  switch (status) {
    case 'completed':
    case 'authorized':
    case 'failed':
      return `payment.${status}`;
    case 'pending':
    case 'canceled':
      throw new Error(`a charge never settles as ${status}`);
  }
}
