import { Injectable } from '@nestjs/common';
import type { Transaction } from '../../../src/database/pipelined-transactions.js';
import type { FinalOutcome, Finding, Outcome } from '../../../src/domain/outcome.js';
import type { Payment } from '../../../src/domain/payment.js';
import type { EventType } from '../../../src/events/event.js';
import type { Claim, ClaimState, StoredAnswer } from '../../../src/idempotency/claims.store.js';
import {
  callStep,
  type GatewayOperation,
  type NextStep,
  type IncomingRequest,
  type OperationRequest,
} from '../../../src/idempotency/operation.js';
import type { ScopedKey } from '../../../src/idempotency/scoped-key.js';
import type { Settlement } from '../../../src/idempotency/settlement.js';
import { Answers } from '../../../src/idempotency/wire/answers.js';
import { PaymentsStore } from '../../../src/payments/payments.store.js';
import { announced, paymentEvent } from '../../../src/payments/settled-writes.js';
import { Clock } from '../../../src/time/clock.js';
import { FlagProvider } from './flag-provider.js';
import { FLAGS, FlagsStore, type Flag, type FlagChange } from './flags.store.js';

/** A real operation adds its event's name to `EVENT_TYPES`. Only the compiler insists on it, so the test casts. */
const newEventType: string = 'payment.flagged';
const PAYMENT_FLAGGED = newEventType as EventType;

export interface FlagCommand {
  transactionId: string;
  reason: string;
}

interface FlagWork {
  flag: Flag;
  payment: Payment;
}

/** Asks the provider to flag a payment, once. */
@Injectable()
export class FlagOperation implements GatewayOperation<FlagCommand, FlagWork> {
  readonly name = 'flag_payment';

  constructor(
    private readonly payments: PaymentsStore,
    private readonly flags: FlagsStore,
    private readonly provider: FlagProvider,
    private readonly answers: Answers,
    private readonly clock: Clock,
  ) {}

  newResourceId({ command }: IncomingRequest<FlagCommand>): string {
    return command.transactionId;
  }

  reserve(tx: Transaction, requests: readonly OperationRequest<FlagCommand>[]): Promise<ScopedKey[]> {
    return this.flags.insertPending(
      tx,
      requests.map(({ merchantId, idempotencyKey, command }) => ({
        merchantId,
        idempotencyKey,
        reason: command.reason,
      })),
    );
  }

  proceed(claim: Claim, { requestId }: OperationRequest<FlagCommand>): Promise<NextStep> {
    return this.resume(claim, requestId);
  }

  async resume(claim: Claim, requestId: string): Promise<NextStep> {
    const flag = await this.flags.findByKey(claim);
    const payment = await this.payments.find(claim.merchantId, claim.resourceId);
    if (flag === null || payment === null) return { step: 'release' };
    if (flag.status === 'pending') return callStep(this, claim, { flag, payment }, requestId);
    // The stored answer was reaped; the flag remembers the request and its outcome.
    const original = { ...claim, fingerprint: flag.fingerprint };
    const answer = this.finalAnswer(flag, requestId);
    return { step: 'settle', settlement: { claim: original, answer, replayed: true, writes: [] } };
  }

  call({ flag }: FlagWork): Promise<Outcome> {
    return this.provider.flag(flag.gatewayKey);
  }

  inquire({ flag }: FlagWork): Promise<Finding> {
    return this.provider.inquire(flag.gatewayKey);
  }

  lookUp({ flag }: FlagWork): Promise<Finding> {
    return this.provider.lookUp(flag.gatewayKey);
  }

  conclude(claim: Claim, { flag, payment }: FlagWork, outcome: FinalOutcome, requestId: string): Settlement {
    const updatedAt = this.clock.now();
    const { merchantId, transactionId, status, failure } = payment;
    if (outcome.kind === 'declined') {
      const refused: FlagChange = { to: 'refused', reference: null, failure: outcome.failure };
      const answer = this.finalAnswer({ ...flag, status: 'refused', failure: outcome.failure }, requestId);
      return { claim, answer, replayed: false, writes: [FLAGS.put(refused)] };
    }
    return {
      claim,
      answer: this.finalAnswer({ ...flag, status: 'flagged' }, requestId),
      replayed: false,
      writes: [
        // The payment stays as it is and counts one event more.
        ...announced(
          {
            merchantId,
            transactionId,
            from: status,
            to: status,
            amountCaptured: null,
            failure,
            gatewayReference: null,
            updatedAt,
          },
          paymentEvent(PAYMENT_FLAGGED, { ...payment, updatedAt }, updatedAt),
        ),
        FLAGS.put({ to: 'flagged', reference: outcome.reference, failure: null }),
      ],
    };
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.flags.deletePending(tx, claims);
  }

  pendingAnswer({ flag }: FlagWork): StoredAnswer {
    return this.answer(202, flag);
  }

  async originalFingerprint(request: OperationRequest<FlagCommand>): Promise<string | null> {
    return (await this.flags.findByKey(request))?.fingerprint ?? null;
  }

  resourcePath({ status, resourceId }: Pick<ClaimState, 'status' | 'resourceId'>): string | null {
    return status === 'released' ? null : `/v1/payments/${resourceId}`;
  }

  private finalAnswer(flag: Flag, requestId: string): StoredAnswer {
    if (flag.failure === null) return this.answer(201, flag);
    return this.answers.problem({ ...flag.failure, transactionId: flag.transactionId }, requestId);
  }

  private answer(status: 201 | 202, flag: Flag): StoredAnswer {
    const resource = { transaction_id: flag.transactionId, reason: flag.reason, status: flag.status };
    return this.answers.json(status, resource, null);
  }
}
