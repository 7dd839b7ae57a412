import { Injectable } from '@nestjs/common';
import type { Transaction } from '../database/pipelined-transactions.js';
import { SinkAddress, type Settled, type SettlementSink } from '../idempotency/settlement.js';
import { PaymentsStore } from './payments.store.js';

/** A payment whose charge was left open, and is announced for it. */
export interface PendingPayment {
  transactionId: string;
}

/** Where a postponed charge sends its payment, so that the event that goes with it gets its number. */
export const PENDING_PAYMENTS = new SinkAddress<PendingPayment>('pending payments');

/** Numbers the event of a payment that is open. */
@Injectable()
export class PendingPaymentsSink implements SettlementSink<PendingPayment> {
  readonly address = PENDING_PAYMENTS;

  constructor(private readonly payments: PaymentsStore) {}

  /** Claims are postponed one at a time, so this loops over one. */
  async write(tx: Transaction, changes: readonly Settled<PendingPayment>[]): Promise<void> {
    await Promise.all(
      changes.map(({ claim, change }) => this.payments.countPending(tx, claim, change.transactionId)),
    );
  }
}
