import { Injectable } from '@nestjs/common';
import type { Transaction } from '../database/pipelined-transactions.js';
import { SinkAddress, type ClaimedChange, type SettlementSink } from '../idempotency/settlement.js';
import { PaymentsStore } from './payments.store.js';

/** A payment whose charge was left open, so an event announces it. */
interface PendingPayment {
  transactionId: string;
}

/** Where a postponed charge sends its payment, so that the payment counts the event that announces it. */
export const PENDING_PAYMENTS = new SinkAddress<PendingPayment>('pending payments');

/** Numbers the event of an open payment. */
@Injectable()
export class PendingPaymentsSink implements SettlementSink<PendingPayment> {
  readonly address = PENDING_PAYMENTS;

  constructor(private readonly payments: PaymentsStore) {}

  /** Claims are postponed one at a time, so this loop has one round. */
  async write(tx: Transaction, changes: readonly ClaimedChange<PendingPayment>[]): Promise<void> {
    await Promise.all(
      changes.map(({ claim, change }) => this.payments.countPending(tx, claim, change.transactionId)),
    );
  }
}
