import type { Payment } from '../domain/payment.js';
import type { Posting } from '../domain/postings.js';
import type { Refund } from '../domain/refund.js';
import { EVENTS, type EventType } from '../events/event.js';
import type { Write } from '../idempotency/settlement.js';
import { uuidv7 } from '../ids/uuidv7.js';
import { LEDGER } from '../ledger/ledger.store.js';
import { paymentToWire } from './payment.dto.js';
import { PAYMENTS, type PaymentChange } from './payments.store.js';
import { refundToWire } from './refund.dto.js';

/** A payment's change and the event that reports it. The payment counts the event, so the two go together. */
export function announced(change: Omit<PaymentChange, 'events'>, report: Write): Write[] {
  return [PAYMENTS.put({ ...change, events: 1 }), report];
}

/** A payment's change that no event reports. */
export function unannounced(change: Omit<PaymentChange, 'events'>): Write[] {
  return [PAYMENTS.put({ ...change, events: 0 })];
}

/** The event that reports a payment's new state. */
export function paymentEvent(type: EventType, payment: Payment, createdAt: Date): Write {
  return event(type, payment, paymentToWire(payment), createdAt);
}

/** The event that reports a refund's new state. It counts among its payment's events. */
export function refundEvent(type: EventType, refund: Refund, createdAt: Date): Write {
  return event(type, refund, refundToWire(refund), createdAt);
}

/** The ledger transfer for money that moved. */
export function transfer(
  { transactionId, currency }: { transactionId: string; currency: string },
  postings: readonly Posting[],
  createdAt: Date,
): Write {
  return LEDGER.put({ transferId: uuidv7(), transactionId, currency, postings, createdAt });
}

function event(
  type: EventType,
  { merchantId, transactionId }: { merchantId: string; transactionId: string },
  resource: object,
  createdAt: Date,
): Write {
  return EVENTS.put({
    merchantId,
    eventId: uuidv7(createdAt.getTime()),
    type,
    transactionId,
    resource: JSON.stringify(resource),
    createdAt,
  });
}
