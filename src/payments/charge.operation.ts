import { Inject, Injectable } from '@nestjs/common';
import { uuidv7 } from '../ids/uuidv7.js';
import type { Transaction } from '../database/pipelined-transactions.js';
import { capturePostings } from '../domain/postings.js';
import { nextStatus, type CaptureMethod, type Payment, type PaymentStatus } from '../domain/payment.js';
import type { FinalOutcome, Finding, Outcome } from '../domain/outcome.js';
import { Gateway } from '../gateways/gateway.js';
import type { NewEvent } from '../events/events.store.js';
import type { Claim, StoredAnswer } from '../idempotency/claims.store.js';
import { Metrics } from '../metrics/metrics.js';
import { Clock } from '../time/clock.js';
import type {
  EventType,
  NextStep,
  Operation,
  OperationRequest,
  Reserved,
  Settlement,
} from '../idempotency/operation.js';
import { Answers } from './answers.js';
import { paymentToWire } from './payment.dto.js';
import { PaymentsStore } from './payments.store.js';

/** A validated request to charge. Amounts are in the currency's minor unit. */
export interface ChargeCommand {
  amountMinor: bigint;
  currency: string;
  paymentMethod: string;
  captureMethod: CaptureMethod;
  userId: string | null;
  description: string | null;
  metadata: Readonly<Record<string, string>>;
}

/** A pending payment, and the key under which the gateway is asked: the id of the claim that first made it. */
interface ChargeWork {
  payment: Payment;
  gatewayKey: string;
}

/** Takes a payment, or authorizes one that is captured later. */
@Injectable()
export class ChargeOperation implements Operation<ChargeCommand, ChargeWork> {
  readonly name = 'charge';

  constructor(
    private readonly payments: PaymentsStore,
    @Inject(Gateway) private readonly gateway: Gateway,
    private readonly clock: Clock,
    private readonly answers: Answers,
    private readonly metrics: Metrics,
  ) {}

  /** Its time is the payment's `created_at`, so that the order of ids is the order of creation. */
  newResourceId(request: OperationRequest<ChargeCommand>): string {
    return uuidv7(request.receivedAt.getTime());
  }

  reserve(tx: Transaction, requests: readonly OperationRequest<ChargeCommand>[]): Promise<Reserved[]> {
    return this.payments.insertPending(tx, requests);
  }

  async proceed(
    claim: Claim,
    request: OperationRequest<ChargeCommand>,
    reserved: Reserved | undefined,
  ): Promise<NextStep<ChargeWork>> {
    if (reserved?.inserted !== true) return this.resume(claim, request.requestId);
    const work = { payment: pendingPayment(claim, request), gatewayKey: claim.claimId };
    return { step: 'call', work };
  }

  async originalFingerprint(request: OperationRequest<ChargeCommand>): Promise<string | null> {
    return (await this.payments.findByKey(request))?.fingerprint ?? null;
  }

  /**
   * The key has a payment already. A pending one was left by a lost owner: the gateway is asked again under the key
   * that it knows. Any other is the original of a duplicate whose stored response was reaped, and answers it.
   */
  async resume(claim: Claim, requestId: string): Promise<NextStep<ChargeWork>> {
    const origin = await this.payments.findByKey(claim);
    if (origin === null) throw new Error(`claim ${claim.claimId} has no payment`);
    const { payment, claimId: gatewayKey, fingerprint } = origin;
    if (payment.status === 'pending') return { step: 'call', work: { payment, gatewayKey } };
    const original: Claim = { ...claim, fingerprint, resourceId: payment.transactionId };
    return {
      step: 'settle',
      settlement: { claim: original, answer: this.finalAnswer(payment, requestId), replayed: true },
    };
  }

  async call({ payment, gatewayKey }: ChargeWork, signal: AbortSignal): Promise<Outcome> {
    const outcome = await this.gateway.charge(
      {
        gatewayKey,
        transactionId: payment.transactionId,
        amountMinor: payment.amount,
        currency: payment.currency,
        paymentMethod: payment.paymentMethod,
        captureMethod: payment.captureMethod,
      },
      signal,
    );
    this.metrics.charged(outcome.kind);
    return outcome;
  }

  find({ payment, gatewayKey }: ChargeWork, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    return this.gateway.inquire(
      {
        kind: 'charge',
        gatewayKey,
        transactionId: payment.transactionId,
        refundId: null,
        reference: payment.gatewayReference,
        unknownSince,
      },
      signal,
    );
  }

  settle(
    claim: Claim,
    { payment: pending }: ChargeWork,
    outcome: FinalOutcome,
    requestId: string,
  ): Settlement {
    const updatedAt = this.clock.now();
    const payment = charged(pending, outcome, updatedAt);
    return {
      claim: { ...claim, resourceId: payment.transactionId },
      answer: this.finalAnswer(payment, requestId),
      replayed: false,
      payment: {
        merchantId: payment.merchantId,
        transactionId: payment.transactionId,
        from: pending.status,
        to: payment.status,
        amountCaptured: payment.amountCaptured,
        failure: payment.failure,
        gatewayReference: outcome.kind === 'approved' ? outcome.reference : null,
        updatedAt,
      },
      ...(payment.amountCaptured > 0n && {
        ledger: {
          ledgerTransactionId: uuidv7(),
          transactionId: payment.transactionId,
          currency: payment.currency,
          postings: capturePostings(payment.amountCaptured),
          createdAt: updatedAt,
        },
      }),
      event: {
        merchantId: payment.merchantId,
        eventId: uuidv7(updatedAt.getTime()),
        type: eventType(payment.status),
        transactionId: payment.transactionId,
        resource: JSON.stringify(paymentToWire(payment)),
        createdAt: updatedAt,
      },
    };
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.payments.deletePending(tx, claims);
  }

  pendingAnswer({ payment }: ChargeWork): StoredAnswer {
    return this.answers.payment(202, payment);
  }

  pendingEvent({ payment }: ChargeWork): NewEvent {
    const createdAt = this.clock.now();
    return {
      merchantId: payment.merchantId,
      eventId: uuidv7(createdAt.getTime()),
      type: 'payment.pending',
      transactionId: payment.transactionId,
      resource: JSON.stringify(paymentToWire(payment)),
      createdAt,
    };
  }

  private finalAnswer(payment: Payment, requestId: string): StoredAnswer {
    const { failure, transactionId } = payment;
    if (failure === null) return this.answers.payment(201, payment);
    return this.answers.problem({ ...failure, transactionId }, requestId);
  }
}

function pendingPayment(claim: Claim, { command, receivedAt }: OperationRequest<ChargeCommand>): Payment {
  return {
    transactionId: claim.resourceId,
    merchantId: claim.merchantId,
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

/** The payment after the gateway's word. */
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
