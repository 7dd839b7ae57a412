export const EFFECT_KINDS = ['charge', 'authorization', 'capture', 'void', 'refund'] as const;
export type EffectKind = (typeof EFFECT_KINDS)[number];

/** Something that happened to money at a gateway, as the gateway tells it. */
export interface GatewayEffect {
  kind: EffectKind;
  /** The gateway's own id of it. */
  reference: string;
  /** The gateway's own id of the charge or authorization that it is about, which may be itself. */
  chargeReference: string;
  /** Our id of the payment, as the gateway was given it. */
  transactionId: string;
  /** Our id of the refund; null for all else, and for a refund that was not made by us. */
  refundId: string | null;
  /**
   * The idempotency key that it was sent with: the id of a claim of ours. Null where the gateway does not tell; empty
   * where it surely was none of ours.
   */
  gatewayKey: string | null;
  /** Null for an amount that the currency's minor unit cannot express, so that it is none of ours. */
  amountMinor: bigint | null;
  currency: string;
  at: Date;
}

/** From a time on and before another; null for no end. */
export interface TimeRange {
  from: Date | null;
  to: Date | null;
}

/** A payment as the gateway may know it. */
export interface PaymentInBooks {
  transactionId: string;
  /** The gateway's ids of its charge, where we know any. */
  chargeReferences: readonly string[];
}

/**
 * What a gateway has on record, for looking only. Unlike `Gateway.find`, no question here changes what the gateway does
 * later: not to find something means "not yet", and closes no key. A gateway that cannot be asked is a
 * StartupError with one sentence that says why.
 */
export abstract class GatewayBooks {
  abstract readonly name: string;

  /** Every effect in a range of the gateway's time, in pages. Effects that are not ours are left out. */
  abstract effects(range: TimeRange): AsyncIterable<GatewayEffect[]>;

  /** All that the gateway has of these payments by now, without delay: whatever we know to have happened is there. */
  abstract effectsOf(payments: readonly PaymentInBooks[]): Promise<GatewayEffect[]>;

  abstract close(): void;
}

export function isWithin({ from, to }: TimeRange, at: Date): boolean {
  return (from === null || at >= from) && (to === null || at < to);
}
