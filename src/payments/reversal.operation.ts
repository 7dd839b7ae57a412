import { Injectable } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Transaction } from '../database/pipelined-transactions.js';
import { RefusedError, type Refusal } from '../domain/errors.js';
import type { Payment } from '../domain/payment.js';
import {
  NOT_A_PAYMENT,
  nextUndoStep,
  type Reversal,
  type ReversalFailure,
  type ReversalOutcome,
} from '../domain/reversal.js';
import { ClaimsStore, type Claim, type ClaimState, type StoredAnswer } from '../idempotency/claims.store.js';
import {
  composeStep,
  type Answer,
  type CompositeOperation,
  type Made,
  type NextStep,
  type IncomingRequest,
  type OperationRequest,
} from '../idempotency/operation.js';
import { MAX_RESUMED, OperationResumer } from '../idempotency/operation.resumer.js';
import { OperationRunner } from '../idempotency/operation.runner.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';
import { SealedKeysStore } from '../idempotency/sealed-keys.store.js';
import type { Settlement } from '../idempotency/settlement.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { Backoff } from '../time/backoff.js';
import { Clock } from '../time/clock.js';
import type { ReversalCommand } from './commands.js';
import { PaymentAnswers } from './payment-answers.js';
import { PaymentsStore } from './payments.store.js';
import { RefundsStore } from './refunds.store.js';
import { ReversalSteps } from './reversal-steps.js';
import { NOTHING_MADE, REVERSALS, ReversalsStore } from './reversals.store.js';

/** How often we look at a payment that others still work on: soon at first, then less often. */
const FIRST_LOOK_MS = 25;
const MAX_LOOK_MS = 1_000;
/**
 * A repeated attempt gives up if it would have to wait longer than this for its next look: it would keep a client, or
 * the other claims of the recovery run, waiting too long.
 */
const MAX_LOOK_AGAIN_MS = 100;

/** How a payment was undone, or why it could not be. */
type ReversalEnd =
  | { outcome: ReversalOutcome; transactionId: string | null }
  | { failure: ReversalFailure; transactionId: string | null };

/** `go on`: take the next step at once. `look later`: others are still working on it. */
type Unfinished = 'go on' | 'look later';

/**
 * Undoes a payment, whatever became of its request. It never calls the gateway itself. It runs cancels and refunds
 * under keys that follow from its own key, so another process that continues it finds what it has already done, and
 * each of its steps happens once, as for any client.
 */
@Injectable()
export class ReversalOperation implements CompositeOperation<ReversalCommand, Reversal> {
  readonly name = 'reversal';

  constructor(
    private readonly runner: OperationRunner,
    private readonly resumer: OperationResumer,
    private readonly claims: ClaimsStore,
    private readonly sealedKeys: SealedKeysStore,
    private readonly reversals: ReversalsStore,
    private readonly payments: PaymentsStore,
    private readonly refunds: RefundsStore,
    private readonly clock: Clock,
    private readonly answers: PaymentAnswers,
  ) {}

  /** Carries the reversal's `created_at`, so ids sort by creation time. */
  newResourceId({ receivedAt }: IncomingRequest<ReversalCommand>): string {
    return uuidv7(receivedAt.getTime());
  }

  async reserve(
    tx: Transaction,
    requests: readonly OperationRequest<ReversalCommand>[],
  ): Promise<ScopedKey[]> {
    const inserted = await this.reversals.insertPending(
      tx,
      requests.map(({ merchantId, idempotencyKey, receivedAt, command }) => ({
        merchantId,
        idempotencyKey,
        receivedAt,
        reversedKey: command.reversedKey,
      })),
    );
    return inserted;
  }

  proceed(claim: Claim, { requestId }: OperationRequest<ReversalCommand>): Promise<NextStep> {
    return this.resume(claim, requestId);
  }

  async originalFingerprint(request: OperationRequest<ReversalCommand>): Promise<string | null> {
    return (await this.reversals.findByKey(request))?.fingerprint ?? null;
  }

  async resume(claim: Claim, requestId: string): Promise<NextStep> {
    const origin = await this.reversals.findByKey(claim);
    if (origin === null) throw new Error(`claim ${claim.claimId} has no reversal`);
    const { reversal, fingerprint } = origin;
    if (reversal.status === 'pending') return composeStep(this, claim, reversal, requestId);
    const original: Claim = { ...claim, fingerprint, resourceId: reversal.reversalId };
    const answer = this.finalAnswer(reversal, requestId);
    return { step: 'settle', settlement: { claim: original, answer, replayed: true, writes: [] } };
  }

  /**
   * Returns null while others are still changing the payment; the reversal goes on later. A repeated attempt looks once
   * and does not wait for others: they may take days, and the recovery worker has other claims to continue.
   */
  async carryOn(
    claim: Claim,
    reversal: Reversal,
    isRepeated: boolean,
    requestId: string,
    signal: AbortSignal,
  ): Promise<Settlement | null> {
    const end = await this.undo(claim, reversal, signal, isRepeated ? MAX_LOOK_AGAIN_MS : Infinity);
    return end && this.conclude(claim, reversal, end, requestId);
  }

  release(tx: Transaction, claims: readonly Claim[]): Promise<void> {
    return this.reversals.undoPending(tx, claims);
  }

  pendingAnswer(reversal: Reversal): StoredAnswer {
    return this.answers.reversal(202, reversal);
  }

  resourcePath({ status, resourceId }: Pick<ClaimState, 'status' | 'resourceId'>): string | null {
    return status === 'released' ? null : `/v1/reversals/${resourceId}`;
  }

  async madeUnder(key: ScopedKey): Promise<Made | null> {
    const origin = await this.reversals.findByKey(key);
    return origin && { resourceId: origin.reversal.reversalId, createdAt: origin.reversal.createdAt };
  }

  private conclude(claim: Claim, reversal: Reversal, end: ReversalEnd, requestId: string): Settlement {
    const ended = endedReversal(reversal, end, this.clock.now());
    const { reversalId, status, outcome, transactionId, failure, updatedAt } = ended;
    return {
      claim: { ...claim, resourceId: reversalId },
      answer: this.finalAnswer(ended, requestId),
      replayed: false,
      writes: [REVERSALS.put({ reversalId, to: status, outcome, transactionId, failure, updatedAt })],
    };
  }

  /**
   * Goes on step by step until the payment is undone. Returns null when the time is up, or when it would have to wait
   * longer than `maxLookMs` before its next look at others' work. `maxLookMs` limits nothing else: a process that
   * continues a reversal first repeats all its finished steps, and must have time for the next one.
   */
  private async undo(
    claim: Claim,
    reversal: Reversal,
    signal: AbortSignal,
    maxLookMs: number,
  ): Promise<ReversalEnd | null> {
    const steps = new ReversalSteps(reversal);
    const looks = new Backoff({ firstMs: FIRST_LOOK_MS, longestMs: MAX_LOOK_MS });
    for (;;) {
      const result = await this.step(claim, reversal, steps);
      if (typeof result === 'object') return result;
      if (result === 'look later') {
        const lookMs = looks.nextMs();
        if (lookMs > maxLookMs) return null;
        await sleep(lookMs, undefined, { signal }).catch(() => undefined);
      }
      if (signal.aborted) return null;
    }
  }

  /** Takes the one step that is possible now. */
  private async step(
    claim: Claim,
    reversal: Reversal,
    steps: ReversalSteps,
  ): Promise<ReversalEnd | Unfinished> {
    const { merchantId, reversedKey } = reversal;
    const key = { merchantId, idempotencyKey: reversedKey };
    const origin = await this.payments.findByKey(key);
    // A database that has lost its tail may have forgotten the payment: nobody can say that it never happened.
    if (origin === null) return claim.lostSince === null ? this.prevent(claim, key) : 'look later';
    const { payment } = origin;
    const { givenBack, pendingKeys } = await this.refunds.standing(merchantId, payment.transactionId);
    const next = nextUndoStep(payment, givenBack);
    switch (next.step) {
      case 'end':
        return { outcome: next.outcome, transactionId: payment.transactionId };
      case 'resolve':
        await this.resumer.resumeNow([key]);
        return 'look later';
      case 'cancel':
      case 'refund':
        return this.run(next.step, payment, steps);
      case 'wait':
        // Others' steps are continued by the process that began them, or by recovery. Our own steps may have lost
        // their process.
        await this.resumer.resumeNow(
          [steps.key('cancel'), ...pendingKeys]
            .slice(0, MAX_RESUMED)
            .map((idempotencyKey) => ({ merchantId, idempotencyKey })),
        );
        return 'look later';
    }
  }

  /** No payment exists. Seal the key, so that none ever can. */
  private async prevent(reversing: Claim, key: ScopedKey): Promise<ReversalEnd | Unfinished> {
    if (await this.sealedKeys.seal(key, reversing, NOTHING_MADE))
      return { outcome: 'prevented', transactionId: null };
    const [claim] = await this.claims.find([key]);
    if (claim?.operation === 'charge') return 'look later';
    // There is no claim, but a payment may have been made in between.
    if (claim === undefined && (await this.payments.findByKey(key)) !== null) return 'look later';
    return {
      failure: { code: 'idempotency_key_not_reversible', message: NOT_A_PAYMENT },
      transactionId: null,
    };
  }

  private async run(
    operation: 'cancel' | 'refund',
    payment: Payment,
    steps: ReversalSteps,
  ): Promise<ReversalEnd | Unfinished> {
    const { transactionId } = payment;
    const answer = await this.answerOf(operation, payment, steps.key(operation));
    // Unavailable, or not known yet: try the same key again.
    if (answer === null || answer.status === 202) return 'look later';
    steps.done(operation);
    // The payment as it is now decides what follows, even if this step lost a race against another change.
    if (answer.status < 300 || answer.status === 409) return 'go on';
    const failure = failureOf(answer);
    // `not_processed` is not a refusal: the step was lost on its way. Try it again under the next key.
    return failure.code === 'not_processed' ? 'go on' : { failure, transactionId };
  }

  private async answerOf(
    operation: 'cancel' | 'refund',
    { merchantId, transactionId, gatewayKey }: Payment,
    idempotencyKey: string,
  ): Promise<Answer | null> {
    const command = { transactionId, amountMinor: null };
    try {
      return await this.runner.run({
        operation,
        merchantId,
        idempotencyKey,
        params: { transactionId },
        gatewayParams: { payment: gatewayKey },
        body: {},
        command: operation === 'cancel' ? command : { ...command, reason: 'reversal' },
        requestId: uuidv7(),
        receivedAt: this.clock.now(),
        waitMs: 0,
        lifetimeMs: null,
        announceKey: () => undefined,
      });
    } catch (error) {
      if (error instanceof RefusedError) return null;
      throw error;
    }
  }

  private finalAnswer(reversal: Reversal, requestId: string): StoredAnswer {
    if (reversal.failure === null) return this.answers.reversal(201, reversal);
    return this.answers.problem(refusalOf(reversal.failure, reversal.transactionId), requestId);
  }
}

function endedReversal(reversal: Reversal, end: ReversalEnd, updatedAt: Date): Reversal {
  const { transactionId } = end;
  return 'outcome' in end
    ? { ...reversal, status: 'completed', outcome: end.outcome, transactionId, updatedAt }
    : { ...reversal, status: 'failed', failure: end.failure, transactionId, updatedAt };
}

/** The failure in one of our own problem documents. */
function failureOf({ body }: Answer): ReversalFailure {
  const { code, detail } = JSON.parse(body) as { code: ReversalFailure['code']; detail: string };
  return { code, message: detail };
}

function refusalOf({ code, message }: ReversalFailure, transactionId: string | null): Refusal {
  if (code === 'idempotency_key_not_reversible') return { code, message };
  return { code, message, transactionId: transactionId ?? '' };
}
