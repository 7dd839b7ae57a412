export type EffectKind = 'charge' | 'authorization' | 'capture' | 'void' | 'refund';

/** Something that happened to money at a gateway, in the gateway's own account. */
export interface GatewayEffect {
  kind: EffectKind;
  /** The gateway's own id of the effect. */
  reference: string;
  /** The gateway's own id of the charge or authorization that it belongs to, which may be itself. */
  chargeReference: string;
  /** Our id of the payment, as we sent it to the gateway. */
  transactionId: string;
  /** Our id of the refund. Null for everything else, and for a refund that we did not make. */
  refundId: string | null;
  /** Null if the gateway does not say. Empty if the key surely was not ours. */
  gatewayKey: string | null;
  /** Null for an amount that the currency's minor unit cannot express, so we cannot have asked for it. */
  amountMinor: bigint | null;
  currency: string;
  at: Date;
}

/** From `from`, included, to `to`, excluded. Null for no end. */
export interface TimeRange {
  from: Date | null;
  to: Date | null;
}

/** A payment as the gateway may know it. */
export interface PaymentInBooks {
  transactionId: string;
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
