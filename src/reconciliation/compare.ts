import type { EffectKind, GatewayEffect } from '../gateways/gateway-books.js';
import type { BookedPayment, BookedRefund, OpenClaim } from './our-books.store.js';

/** An effect that our books imply at the gateway. */
export interface ExpectedEffect {
  kind: EffectKind;
  merchantId: string;
  transactionId: string;
  refundId: string | null;
  amountMinor: bigint;
  /** For an automatic payment, what our books say was taken: all of it, unless they contradict themselves. */
  takenMinor: bigint;
  currency: string;
  /** The gateway's id of it; null if we do not keep it or do not know it yet. */
  reference: string | null;
  /** The gateway's id of its charge; null while we do not know it. */
  chargeReference: string | null;
  /** The key that the gateway was asked with. Null where we do not know it; then any will do. */
  gatewayKey: string | null;
  /** Set while its outcome is open in our books. */
  open: { since: Date; claim: OpenClaim | null } | null;
}

type RefundNames = Pick<GatewayEffect, 'refundId' | 'gatewayKey'>;

/** Why an effect at the gateway has no counterpart in our books. */
export type MissingReason = 'no_payment' | 'not_settled' | 'one_too_many';

export type Finding =
  | { list: 'missing_here'; effect: GatewayEffect; ours: BookedPayment | null; reason: MissingReason }
  | { list: 'missing_there'; expected: ExpectedEffect }
  | { list: 'amount_differs'; expected: ExpectedEffect; effect: GatewayEffect }
  | { list: 'open'; expected: ExpectedEffect; effect: GatewayEffect | null };

/**
 * Compares one payment in both books. It compares kinds of effect, never states: if we captured a payment that the
 * gateway voided, a capture is missing there and a void is missing here.
 * @param ours null if we have no such payment
 */
export function comparePayment(ours: BookedPayment | null, theirs: readonly GatewayEffect[]): Finding[] {
  const findings: Finding[] = [];
  const left = new Set(theirs);
  const matched: GatewayEffect[] = [];
  for (const expected of ours === null ? [] : expectedEffects(ours)) {
    const effect = counterpart(expected, left);
    if (effect !== null) {
      left.delete(effect);
      matched.push(effect);
    }
    if (effect !== null && !isSameMoney(expected, effect)) {
      findings.push({ list: 'amount_differs', expected, effect });
    } else if (expected.open !== null) {
      findings.push({ list: 'open', expected, effect });
    } else if (effect === null) {
      findings.push({ list: 'missing_there', expected });
    }
  }
  for (const effect of left) {
    findings.push({ list: 'missing_here', effect, ours, reason: reasonOf(effect, ours, matched) });
  }
  return findings;
}

/** Every effect that a payment's state, its hold and its refunds imply. */
export function expectedEffects(payment: BookedPayment): ExpectedEffect[] {
  return [
    ...expectedCharge(payment),
    ...expectedEnd(payment),
    ...payment.refunds.flatMap((refund) => expectedRefund(payment, refund)),
  ];
}

function expectedCharge(payment: BookedPayment): ExpectedEffect[] {
  const { status, captureMethod, gatewayKey, gatewayReference, amount, amountCaptured } = payment;
  if (status === 'failed') return [];
  const automatic = captureMethod === 'automatic';
  return [
    {
      ...common(payment),
      kind: automatic ? 'charge' : 'authorization',
      takenMinor: automatic && status === 'completed' ? amountCaptured : amount,
      reference: gatewayReference,
      gatewayKey,
      open: status === 'pending' ? openBy(payment, gatewayKey, payment.createdAt) : null,
    },
  ];
}

/**
 * The capture or cancel of an authorization. Earlier versions did not keep its gateway key. But an authorization ends
 * only once, so the payment, the charge's reference and the kind identify the effect.
 */
function expectedEnd(payment: BookedPayment): ExpectedEffect[] {
  const { status, captureMethod, amountCaptured, hold, endedByGatewayKey } = payment;
  if (captureMethod !== 'manual') return [];
  const end = { ...common(payment), reference: null, gatewayKey: endedByGatewayKey, open: null };
  if (status === 'completed') {
    return [{ ...end, kind: 'capture', amountMinor: amountCaptured, takenMinor: amountCaptured }];
  }
  if (status === 'canceled') return [{ ...end, kind: 'void' }];
  if (hold === null) return [];
  const claim = payment.claims.get(hold.gatewayKey);
  return [
    {
      ...end,
      kind: claim?.operation === 'cancel' ? 'void' : 'capture',
      amountMinor: hold.amount,
      takenMinor: hold.amount,
      gatewayKey: hold.gatewayKey,
      open: openBy(payment, hold.gatewayKey, claim?.createdAt ?? payment.updatedAt),
    },
  ];
}

function expectedRefund(payment: BookedPayment, refund: BookedRefund): ExpectedEffect[] {
  const { refundId, gatewayKey, status, amount, currency, gatewayReference } = refund;
  if (status === 'failed') return [];
  return [
    {
      ...common(payment),
      kind: 'refund',
      refundId,
      amountMinor: amount,
      takenMinor: amount,
      currency,
      reference: gatewayReference,
      gatewayKey,
      open: status === 'pending' ? openBy(payment, gatewayKey, refund.createdAt) : null,
    },
  ];
}

function common({ merchantId, transactionId, amount, currency, gatewayReference }: BookedPayment) {
  return {
    merchantId,
    transactionId,
    refundId: null,
    amountMinor: amount,
    takenMinor: amount,
    currency,
    chargeReference: gatewayReference,
  };
}

function openBy({ claims }: BookedPayment, gatewayKey: string, since: Date): ExpectedEffect['open'] {
  return { since, claim: claims.get(gatewayKey) ?? null };
}

/** If several match, prefers one with the same amount, so that the wrong one is left over. */
function counterpart(expected: ExpectedEffect, theirs: ReadonlySet<GatewayEffect>): GatewayEffect | null {
  const candidates = [...theirs].filter((effect) => isCounterpart(expected, effect));
  return candidates.find((effect) => isSameMoney(expected, effect)) ?? candidates[0] ?? null;
}

/**
 * A payment has many refunds, and only their keys or our ids tell them apart. Then the gateway's ids count where we keep
 * them. The key of another kind decides only if we have no id from the gateway yet: an effect under another key is not
 * the one that our claim would find.
 */
function isCounterpart(expected: ExpectedEffect, effect: GatewayEffect): boolean {
  if (effect.kind !== expected.kind) return false;
  if (expected.kind === 'refund' && !isSameRefund(expected, effect)) return false;
  if (expected.chargeReference !== null && effect.chargeReference !== expected.chargeReference) return false;
  if (expected.reference !== null) return effect.reference === expected.reference;
  return (
    expected.gatewayKey === null || effect.gatewayKey === null || effect.gatewayKey === expected.gatewayKey
  );
}

/** By our id where the gateway has one, otherwise by the key. A refund with neither was made by somebody else. */
function isSameRefund(a: RefundNames, b: RefundNames): boolean {
  if (a.refundId !== null && b.refundId !== null) return a.refundId === b.refundId;
  return a.gatewayKey !== null && a.gatewayKey === b.gatewayKey;
}

function isSameMoney({ amountMinor, takenMinor, currency }: ExpectedEffect, effect: GatewayEffect): boolean {
  return (
    effect.amountMinor === amountMinor && effect.amountMinor === takenMinor && effect.currency === currency
  );
}

function reasonOf(
  effect: GatewayEffect,
  ours: BookedPayment | null,
  matched: readonly GatewayEffect[],
): MissingReason {
  if (ours === null) return 'no_payment';
  const twin = matched.some(
    (other) => other.kind === effect.kind && (effect.kind !== 'refund' || isSameRefund(other, effect)),
  );
  return twin ? 'one_too_many' : 'not_settled';
}
