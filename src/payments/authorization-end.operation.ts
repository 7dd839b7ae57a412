import type { Transaction } from '../database/pipelined-transactions.js';
import type { Refusal } from '../domain/errors.js';
import type { FinalOutcome, Finding, LostTail, Outcome } from '../domain/outcome.js';
import { nextStatus, type Payment } from '../domain/payment.js';
import { capturePostings } from '../domain/postings.js';
import type { EventType } from '../events/event.js';
import type { CancelRequest, Gateway, SentCall } from '../gateways/gateway.js';
import type { Claim, ClaimState, StoredAnswer } from '../idempotency/claims.store.js';
import {
  callStep,
  type GatewayOperation,
  type NextStep,
  type IncomingRequest,
  type OperationRequest,
} from '../idempotency/operation.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';
import type { Settlement } from '../idempotency/settlement.js';
import type { Clock } from '../time/clock.js';
import type { AuthorizationEndCommand } from './commands.js';
import { callUnderKey, earlier } from './gateway-request.js';
import type { PaymentAnswers } from './payment-answers.js';
import type { PaymentsStore } from './payments.store.js';
import { announced, paymentEvent, transfer, unannounced } from './settled-writes.js';

/** An authorized payment that this claim holds, and the gateway key of the call that ends its authorization. */
export interface AuthorizationEndWork {
  payment: Payment;
  amountMinor: bigint;
  gatewayKey: string;
}

/**
 * The payment was pending when the route read it, and its charge has been released since: there is nothing to act on.
 */
const GONE = { step: 'release' } as const;

/**
 * What captures and cancels have in common. Each takes the authorized payment for itself and ends the authorization for
 * good. If several race, one goes on and the others are refused.
 */
export abstract class AuthorizationEndOperation implements GatewayOperation<
  AuthorizationEndCommand,
  AuthorizationEndWork
> {
  abstract readonly name: 'capture' | 'cancel';

  constructor(
    protected readonly payments: PaymentsStore,
    private readonly clock: Clock,
    private readonly answers: PaymentAnswers,
    protected readonly gateway: Gateway,
  ) {}

  abstract call(work: AuthorizationEndWork, signal: AbortSignal): Promise<Outcome>;

  /** The gateway's call for this operation. */
  protected abstract sentCall(work: AuthorizationEndWork, request: CancelRequest): SentCall;

  protected abstract readonly eventType: EventType;

  protected abstract refusal(payment: Payment, amountMinor: bigint | null): Refusal | null;

  protected abstract stateRefusal(status: string): Refusal;

  newResourceId({ command }: IncomingRequest<AuthorizationEndCommand>): string {
    return command.transactionId;
  }

  subjectOf({ merchantId, command }: OperationRequest<AuthorizationEndCommand>): string {
    return merchantId + command.transactionId;
  }

  reserve(
    tx: Transaction,
    requests: readonly OperationRequest<AuthorizationEndCommand>[],
  ): Promise<ScopedKey[]> {
    return this.payments.hold(
      tx,
      requests.map(({ merchantId, idempotencyKey, command }) => ({
        merchantId,
        idempotencyKey,
        transactionId: command.transactionId,
        amount: command.amountMinor,
      })),
    );
  }

  async proceed(
    claim: Claim,
    { command, requestId }: OperationRequest<AuthorizationEndCommand>,
  ): Promise<NextStep> {
    const payment = await this.payments.find(claim.merchantId, claim.resourceId);
    if (payment === null) return GONE;
    const next = await this.next(claim, payment, requestId);
    if (next !== null) return next;
    // Another request held the payment and has just dropped its hold. Refuse this one anyway: a claim tries to hold
    // only once.
    const refusal = this.refusal(payment, command.amountMinor) ?? this.stateRefusal('being changed');
    const answer = this.answers.problem(refusal, requestId);
    return { step: 'settle', settlement: { claim, answer, replayed: false, onlyHere: true, writes: [] } };
  }

  /**
   * A claim without a hold was refused, but its owner died before it could answer. We no longer know the amount, so we
   * release the key: nothing was reserved, and the next request under this key gets the refusal.
   */
  async resume(claim: Claim, requestId: string): Promise<NextStep> {
    const payment = await this.payments.find(claim.merchantId, claim.resourceId);
    if (payment === null) return GONE;
    return (await this.next(claim, payment, requestId)) ?? { step: 'release' };
  }

  inquire(work: AuthorizationEndWork, unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    return this.gateway.inquire(this.sentCall(work, endRequest(work)), unknownSince, signal);
  }

  lookUp(work: AuthorizationEndWork, lost: LostTail, signal: AbortSignal): Promise<Finding> {
    return this.gateway.lookUp(this.sentCall(work, endRequest(work, lost.since)), lost, signal);
  }

  conclude(claim: Claim, work: AuthorizationEndWork, outcome: FinalOutcome, requestId: string): Settlement {
    const updatedAt = this.clock.now();
    const approved = outcome.kind === 'approved';
    const payment = approved ? this.ended(work, updatedAt) : { ...work.payment, updatedAt };
    const { merchantId, transactionId, amountCaptured } = payment;
    const change = {
      merchantId,
      transactionId,
      from: work.payment.status,
      to: payment.status,
      amountCaptured,
      failure: null,
      gatewayReference: null,
      endsAuthorization: approved,
      updatedAt,
    };
    if (!approved) {
      const answer = this.answers.problem({ ...outcome.failure, transactionId }, requestId);
      return { claim, answer, replayed: false, onlyHere: true, writes: unannounced(change) };
    }
    return {
      claim,
      answer: this.answers.payment(200, payment),
      replayed: false,
      writes: [
        ...announced(change, paymentEvent(this.eventType, payment, updatedAt)),
        ...(amountCaptured > 0n ? [transfer(payment, capturePostings(amountCaptured), updatedAt)] : []),
      ],
    };
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.payments.dropHolds(tx, claims);
  }

  pendingAnswer({ payment }: AuthorizationEndWork): StoredAnswer {
    return this.answers.payment(202, payment);
  }

  async originalFingerprint(request: OperationRequest<AuthorizationEndCommand>): Promise<string | null> {
    const end = await this.payments.findEnd(request.merchantId, request.command.transactionId);
    return end?.idempotencyKey === request.idempotencyKey ? end.fingerprint : null;
  }

  /** A refused request made no change, but its payment still exists. */
  resourcePath({ status, resourceId }: Pick<ClaimState, 'status' | 'resourceId'>): string | null {
    return status === 'released' ? null : `/v1/payments/${resourceId}`;
  }

  private async next(claim: Claim, payment: Payment, requestId: string): Promise<NextStep | null> {
    const { hold } = payment;
    // An earlier version holds a payment by the id of its claim, and has called the gateway under that.
    if (hold !== null && [claim.gatewayKey, claim.claimId].includes(hold.gatewayKey)) {
      const work = { payment, amountMinor: hold.amount, gatewayKey: hold.gatewayKey };
      return callStep(this, claim, work, requestId);
    }
    const end = await this.payments.findEnd(claim.merchantId, claim.resourceId);
    if (end?.idempotencyKey !== claim.idempotencyKey) return null;
    // The stored answer was reaped, but the payment remembers whose key this is.
    const original = { ...claim, fingerprint: end.fingerprint };
    const answer = this.answers.payment(200, payment);
    return { step: 'settle', settlement: { claim: original, answer, replayed: true, writes: [] } };
  }

  private ended({ payment, amountMinor }: AuthorizationEndWork, updatedAt: Date): Payment {
    const status = nextStatus(payment.status, this.name);
    if (status === null) throw new Error(`a ${payment.status} payment cannot ${this.name}`);
    const amountCaptured = this.name === 'capture' ? amountMinor : 0n;
    return { ...payment, status, amountCaptured, hold: null, updatedAt };
  }
}

/** The payment has changed last when its authorization was settled, so the call was not sent before that. */
export function endRequest(
  { payment, gatewayKey }: AuthorizationEndWork,
  sentSince = payment.updatedAt,
): CancelRequest {
  const { transactionId, gatewayReference, updatedAt } = payment;
  return {
    ...callUnderKey(gatewayKey, { transactionId, refundId: null }, earlier(sentSince, updatedAt)),
    reference: gatewayReference ?? '',
  };
}
