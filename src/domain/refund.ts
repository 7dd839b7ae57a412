import type { PaymentFailure } from './payment.js';

export const REFUND_STATUSES = ['pending', 'completed', 'failed'] as const;
export type RefundStatus = (typeof REFUND_STATUSES)[number];

/** Money on its way back. The amount is in the minor unit of the payment's currency. */
export interface Refund {
  refundId: string;
  merchantId: string;
  /** The key under which the gateway knows it. */
  gatewayKey: string;
  transactionId: string;
  amount: bigint;
  currency: string;
  status: RefundStatus;
  reason: string | null;
  failure: PaymentFailure | null;
  createdAt: Date;
  updatedAt: Date;
}
