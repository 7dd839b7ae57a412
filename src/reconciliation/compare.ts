import type { EffectKind, GatewayEffect } from '../gateways/gateway-books.js';
import type { BookedPayment, BookedRefund, OpenClaim } from './our-books.store.js';

/** What our books imply that the gateway did. */
export interface ExpectedEffect {
  kind: EffectKind;
  merchantId: string;
  transactionId: string;
  refundId: string | null;
  amountMinor: bigint;
  /** Of an automatic payment, what we say was taken, which is all of it unless our books contradict themselves. */
  takenMinor: bigint;
  currency: string;
  /** The gateway's id of it; null where we do not keep it, or do not know it yet. */
  reference: string | null;
  /** The gateway's id of its charge; null while we do not know it. */
  chargeReference: string | null;
  /** The key that the gateway was asked with. Null where any key will do, because the references decide. */
  idempotencyKey: string | null;
  /** Set while its outcome is open here. */
  open: { since: Date; claim: OpenClaim | null } | null;
}

/** Why an effect at the gateway has no counterpart here. */
export type MissingReason = 'no_payment' | 'not_settled' | 'one_too_many';

export type Finding =
  | { list: 'missing_here'; effect: GatewayEffect; ours: BookedPayment | null; reason: MissingReason }
  | { list: 'missing_there'; expected: ExpectedEffect }
  | { list: 'amount_differs'; expected: ExpectedEffect; effect: GatewayEffect }
  | { list: 'open'; expected: ExpectedEffect; effect: GatewayEffect | null };

/**
 * One payment in both books. Kinds are compared, never states: a payment that we captured and the gateway gave up is a
 * capture that is missing there and a void that is missing here.
 * @param ours null where we have no such payment
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
  const { status, captureMethod, claimId, gatewayReference, amount, amountCaptured } = payment;
  if (status === 'failed') return [];
  const automatic = captureMethod === 'automatic';
  return [
    {
      ...common(payment),
      kind: automatic ? 'charge' : 'authorization',
      takenMinor: automatic && status === 'completed' ? amountCaptured : amount,
      reference: gatewayReference,
      idempotencyKey: claimId,
      open: status === 'pending' ? openBy(payment, claimId, payment.createdAt) : null,
    },
  ];
}

/**
 * The capture or cancel of an authorization. Its gateway key was its claim's id, and the claim is gone after its answer's
 * lifetime; but an authorization ends once, so the payment, the charge's reference and the kind say which it is.
 */
function expectedEnd(payment: BookedPayment): ExpectedEffect[] {
  const { status, captureMethod, amountCaptured, hold } = payment;
  if (captureMethod !== 'manual') return [];
  const end = { ...common(payment), reference: null, idempotencyKey: null, open: null };
  if (status === 'completed') {
    return [{ ...end, kind: 'capture', amountMinor: amountCaptured, takenMinor: amountCaptured }];
  }
  if (status === 'canceled') return [{ ...end, kind: 'void' }];
  if (hold === null) return [];
  const claim = payment.claims.get(hold.claimId);
  return [
    {
      ...end,
      kind: claim?.operation === 'cancel' ? 'void' : 'capture',
      amountMinor: hold.amount,
      takenMinor: hold.amount,
      idempotencyKey: hold.claimId,
      open: openBy(payment, hold.claimId, claim?.createdAt ?? payment.updatedAt),
    },
  ];
}

function expectedRefund(payment: BookedPayment, refund: BookedRefund): ExpectedEffect[] {
  const { refundId, claimId, status, amount, currency, gatewayReference } = refund;
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
      idempotencyKey: claimId,
      open: status === 'pending' ? openBy(payment, claimId, refund.createdAt) : null,
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

function openBy({ claims }: BookedPayment, claimId: string, since: Date): ExpectedEffect['open'] {
  return { since, claim: claims.get(claimId) ?? null };
}

/** Of several that would do, one of the same amount, so that what is left over is what is wrong. */
function counterpart(expected: ExpectedEffect, theirs: ReadonlySet<GatewayEffect>): GatewayEffect | null {
  const candidates = [...theirs].filter((effect) => isCounterpart(expected, effect));
  return candidates.find((effect) => isSameMoney(expected, effect)) ?? candidates[0] ?? null;
}

/**
 * Our own ids first, then the gateway's ids where we keep them. The key decides only where we have no id of the
 * gateway's yet: an effect under another key is not what our claim would find.
 */
function isCounterpart(expected: ExpectedEffect, effect: GatewayEffect): boolean {
  if (effect.kind !== expected.kind || effect.refundId !== expected.refundId) return false;
  if (expected.chargeReference !== null && effect.chargeReference !== expected.chargeReference) return false;
  if (expected.reference !== null) return effect.reference === expected.reference;
  return (
    expected.idempotencyKey === null ||
    effect.gatewayKey === null ||
    effect.gatewayKey === expected.idempotencyKey
  );
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
  const twin = matched.some(({ kind, refundId }) => kind === effect.kind && refundId === effect.refundId);
  return twin ? 'one_too_many' : 'not_settled';
}
