export type EffectKind = 'charge' | 'authorization' | 'capture' | 'void' | 'refund';

/** Something that happened to money at a gateway, in the gateway's own account. */
export interface GatewayEffect {
  kind: EffectKind;
  /** The gateway's own id of the effect. */
  reference: string;
  /** The gateway's own id of the charge or authorization that it belongs to, which may be itself. */
  chargeReference: string;
  /** The gateway key of that charge, by which we find its payment. Null where the gateway does not know it. */
  chargeKey: string | null;
  /** The key of the call that caused it. Null where the gateway does not say. Empty where it surely was none of ours. */
  gatewayKey: string | null;
  /** Our ids of the payment and the refund, where an earlier version of this service sent them. */
  transactionId: string | null;
  refundId: string | null;
  /** Null for an amount that the currency's minor unit cannot express, and that therefore is none of ours. */
  amountMinor: bigint | null;
  currency: string;
  at: Date;
}

/** From `from`, included, to `to`, excluded. Null for no end. */
export interface TimeRange {
  from: Date | null;
  to: Date | null;
}

/** A payment as the gateway may know it. Without a key or an id, it is none of ours. */
export interface PaymentInBooks {
  chargeKey: string | null;
  transactionId: string | null;
  /** The gateway's ids of the payment's charge, where we know any. */
  chargeReferences: readonly string[];
}

/**
 * What a gateway has on record, read-only. Unlike `Gateway.inquire`, no question here changes what the gateway does
 * later: a missing effect only means "not yet", and no key is closed. If the gateway cannot be asked, a method throws a
 * StartupError that says why in one sentence.
 */
export abstract class GatewayBooks {
  abstract readonly name: string;

  /** Every effect of ours in a range of the gateway's time, in pages. */
  abstract effects(range: TimeRange): AsyncIterable<GatewayEffect[]>;

  /** Everything that the gateway has for these payments, without lag: what we know to have happened is there. */
  abstract effectsOf(payments: readonly PaymentInBooks[]): Promise<GatewayEffect[]>;

  abstract close(): void;
}

export function isWithin({ from, to }: TimeRange, at: Date): boolean {
  return (from === null || at >= from) && (to === null || at < to);
}
