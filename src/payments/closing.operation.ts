import { uuidv7 } from '../ids/uuidv7.js';
import type { Transaction } from '../database/pipelined-transactions.js';
import type { Refusal } from '../domain/errors.js';
import { nextStatus, type Payment } from '../domain/payment.js';
import { capturePostings } from '../domain/postings.js';
import type { FinalOutcome, Finding, Outcome } from '../domain/outcome.js';
import type { Claim, StoredAnswer } from '../idempotency/claims.store.js';
import type { Clock } from '../time/clock.js';
import type {
  EventType,
  NextStep,
  Operation,
  OperationRequest,
  Reserved,
  Settlement,
} from '../idempotency/operation.js';
import type { Answers } from './answers.js';
import { paymentToWire } from './payment.dto.js';
import type { PaymentsStore } from './payments.store.js';

/** A request to end an authorization. A null amount is all of it. */
export interface ClosingCommand {
  transactionId: string;
  amountMinor: bigint | null;
}

/** An authorized payment that this claim holds. */
export interface ClosingWork {
  payment: Payment;
  amountMinor: bigint;
  gatewayKey: string;
}

/** The payment was pending when the route saw it, and its charge has been given back since: there is none to act on. */
const GONE = { step: 'release' } as const;

/**
 * What captures and cancels share: each takes the authorized payment for itself, so that of any number that race one
 * goes on and the others are refused, and ends the authorization for good.
 */
export abstract class ClosingOperation implements Operation<ClosingCommand, ClosingWork> {
  abstract readonly name: 'capture' | 'cancel';

  constructor(
    protected readonly payments: PaymentsStore,
    private readonly clock: Clock,
    private readonly answers: Answers,
  ) {}

  abstract call(work: ClosingWork, signal: AbortSignal): Promise<Outcome>;

  abstract find(work: ClosingWork, unknownSince: Date, signal: AbortSignal): Promise<Finding>;

  protected abstract readonly eventType: EventType;

  protected abstract refusal(payment: Payment, amountMinor: bigint | null): Refusal | null;

  protected abstract stateRefusal(status: string): Refusal;

  newResourceId({ command }: OperationRequest<ClosingCommand>): string {
    return command.transactionId;
  }

  async reserve(tx: Transaction, requests: readonly OperationRequest<ClosingCommand>[]): Promise<Reserved[]> {
    const held = await this.payments.hold(
      tx,
      requests.map(({ merchantId, idempotencyKey, command }) => ({
        merchantId,
        idempotencyKey,
        transactionId: command.transactionId,
        amount: command.amountMinor,
      })),
    );
    return held.map((key) => ({ ...key, inserted: true }));
  }

  subjectOf({ merchantId, command }: OperationRequest<ClosingCommand>): string {
    return merchantId + command.transactionId;
  }

  async proceed(
    claim: Claim,
    { command, requestId }: OperationRequest<ClosingCommand>,
  ): Promise<NextStep<ClosingWork>> {
    const payment = await this.payments.find(claim.merchantId, claim.resourceId);
    if (payment === null) return GONE;
    const next = await this.next(claim, payment);
    if (next !== null) return next;
    // Who was held up by another that has just let go is refused all the same: the claim is taken, and asks once.
    const refusal = this.refusal(payment, command.amountMinor) ?? this.stateRefusal('being changed');
    const answer = this.answers.problem(refusal, requestId);
    return { step: 'settle', settlement: { claim, answer, replayed: false } };
  }

  async originalFingerprint(request: OperationRequest<ClosingCommand>): Promise<string | null> {
    const end = await this.payments.findEnd(request.merchantId, request.command.transactionId);
    return end?.idempotencyKey === request.idempotencyKey ? end.fingerprint : null;
  }

  /**
   * A claim that holds nothing was refused, and its owner was lost before it could say why. The amount is not known
   * any more, so the key is given back: nothing was reserved, and the next request with it hears the reason.
   */
  async resume(claim: Claim): Promise<NextStep<ClosingWork>> {
    const payment = await this.payments.find(claim.merchantId, claim.resourceId);
    if (payment === null) return GONE;
    return (await this.next(claim, payment)) ?? { step: 'release' };
  }

  settle(claim: Claim, work: ClosingWork, outcome: FinalOutcome, requestId: string): Settlement {
    const updatedAt = this.clock.now();
    const payment =
      outcome.kind === 'declined' ? { ...work.payment, updatedAt } : this.closed(work, updatedAt);
    const change = {
      merchantId: payment.merchantId,
      transactionId: payment.transactionId,
      from: work.payment.status,
      to: payment.status,
      amountCaptured: payment.amountCaptured,
      failure: null,
      gatewayReference: null,
      closes: outcome.kind === 'approved',
      updatedAt,
    };
    if (outcome.kind === 'declined') {
      const refusal = { ...outcome.failure, transactionId: payment.transactionId };
      return { claim, answer: this.answers.problem(refusal, requestId), replayed: false, payment: change };
    }
    return {
      claim,
      answer: this.answers.payment(200, payment),
      replayed: false,
      payment: change,
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
        type: this.eventType,
        transactionId: payment.transactionId,
        resource: JSON.stringify(paymentToWire(payment)),
        createdAt: updatedAt,
      },
    };
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.payments.letGo(tx, claims);
  }

  pendingAnswer({ payment }: ClosingWork): StoredAnswer {
    return this.answers.payment(202, payment);
  }

  private async next(claim: Claim, payment: Payment): Promise<NextStep<ClosingWork> | null> {
    if (payment.hold?.claimId === claim.claimId) {
      const work = { payment, amountMinor: payment.hold.amount, gatewayKey: claim.claimId };
      return { step: 'call', work };
    }
    const end = await this.payments.findEnd(claim.merchantId, claim.resourceId);
    if (end?.idempotencyKey !== claim.idempotencyKey) return null;
    // The stored answer was reaped, but the payment remembers whose key this is.
    const original = { ...claim, fingerprint: end.fingerprint };
    const answer = this.answers.payment(200, payment);
    return { step: 'settle', settlement: { claim: original, answer, replayed: true } };
  }

  private closed({ payment, amountMinor }: ClosingWork, updatedAt: Date): Payment {
    const status = nextStatus(payment.status, this.name);
    if (status === null) throw new Error(`a ${payment.status} payment cannot ${this.name}`);
    const amountCaptured = this.name === 'capture' ? amountMinor : 0n;
    return { ...payment, status, amountCaptured, hold: null, updatedAt };
  }
}
