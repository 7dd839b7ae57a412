import type { Transaction } from '../../database/pipelined-transactions.js';
import type { Finding, Outcome } from '../../domain/outcome.js';
import type { Claim, StoredAnswer } from '../../idempotency/claims.store.js';
import type {
  NextStep,
  Operation,
  OperationRequest,
  Reserved,
  Settlement,
} from '../../idempotency/operation.js';

/**
 * A keyed operation that is done when it is reserved: no gateway is asked, so nothing is ever pending, and nothing is
 * ever undone.
 */
export abstract class WebhookOperation<Command> implements Operation<Command, never> {
  abstract readonly name: string;

  abstract newResourceId(request: OperationRequest<Command>): string;

  abstract subjectOf(request: OperationRequest<Command>): string;

  abstract reserve(tx: Transaction, requests: readonly OperationRequest<Command>[]): Promise<Reserved[]>;

  abstract proceed(claim: Claim, request: OperationRequest<Command>): Promise<NextStep<never>>;

  abstract resume(claim: Claim, requestId: string): Promise<NextStep<never>>;

  abstract originalFingerprint(request: OperationRequest<Command>): Promise<string | null>;

  release(): Promise<void> {
    return Promise.resolve();
  }

  call(): Promise<Outcome> {
    return this.neverCalled();
  }

  find(): Promise<Finding> {
    return this.neverCalled();
  }

  settle(): Settlement {
    return this.neverCalled();
  }

  pendingAnswer(): StoredAnswer {
    return this.neverCalled();
  }

  private neverCalled(): never {
    throw new Error(`${this.name} asks no gateway`);
  }
}
