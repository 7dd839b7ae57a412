import type { EffectKind, GatewayEffect } from '../gateways/gateway-books.js';
import { missingHereAdvice, missingThereAdvice, openAdvice, DIFFERS_ADVICE } from './advice.js';
import type { ExpectedEffect, Finding, MissingReason } from './compare.js';
import type { OpenClaim } from './our-books.store.js';

/** A finding as printed. Amounts are numbers in the currency's minor unit. */
interface Line {
  kind: EffectKind;
  /** Null if we know no merchant for it. */
  merchant_id: string | null;
  /** Null if we have no such payment and the gateway does not know our id of it. */
  transaction_id: string | null;
  refund_id: string | null;
  /** What the gateway was sent as the key of this call; null where neither side knows it. */
  gateway_key: string | null;
  advice: string;
}

export interface MissingHere extends Line {
  /** The gateway's own id. */
  reference: string;
  charge_reference: string;
  /** Null if the currency's minor unit cannot express the amount. */
  amount: number | null;
  currency: string;
  at: string;
  /** Our payment's status; null if there is no payment. */
  status_here: string | null;
  reason: MissingReason | 'open';
  repairable: boolean;
}

export interface MissingThere extends Line {
  /** The gateway's id of the effect or of its charge, as far as we know it. */
  reference: string | null;
  amount: number;
  currency: string;
}

export interface AmountDiffers extends Line {
  reference: string;
  amount_here: number;
  currency_here: string;
  amount_there: number | null;
  currency_there: string;
}

export interface Open extends Line {
  amount: number;
  currency: string;
  since: string;
  age_seconds: number;
  overdue: boolean;
  /** Whether the gateway already has the effect. */
  is_there: boolean;
  /** The client's key; null if no claim is in progress. */
  idempotency_key: string | null;
  repairable: boolean;
}

export interface List<Item> {
  /** Includes those that are not shown. */
  count: number;
  data: Item[];
}

export interface ReportLimits {
  /** An operation that has been open longer counts as a difference. */
  openAfterMs: number;
  /** How many entries of each list are kept for display. */
  shown: number;
}

/** What a comparison found: all counts, and the first entries of each list. */
export class Report {
  readonly missingHere: List<MissingHere> = { count: 0, data: [] };
  readonly missingThere: List<MissingThere> = { count: 0, data: [] };
  readonly amountDiffers: List<AmountDiffers> = { count: 0, data: [] };
  /** Not settled here. Overdue ones whose effect the gateway has are listed as missing here instead. */
  readonly open: List<Open> = { count: 0, data: [] };
  overdue = 0;

  constructor(private readonly limits: ReportLimits) {}

  /** Whether nothing differs. A recently opened operation is in progress and not a difference. */
  get agrees(): boolean {
    const differing = [this.missingHere, this.missingThere, this.amountDiffers];
    return this.overdue === 0 && differing.every(({ count }) => count === 0);
  }

  add(findings: readonly Finding[], now: Date): void {
    for (const finding of findings) this.addOne(finding, now);
  }

  private addOne(finding: Finding, now: Date): void {
    switch (finding.list) {
      case 'missing_here':
        return this.append(this.missingHere, toMissingHere(finding));
      case 'missing_there':
        return this.append(this.missingThere, toMissingThere(finding.expected));
      case 'amount_differs':
        return this.append(this.amountDiffers, toAmountDiffers(finding.expected, finding.effect));
      case 'open':
        return this.addOpen(finding.expected, finding.effect, now);
    }
  }

  private addOpen(expected: ExpectedEffect, effect: GatewayEffect | null, now: Date): void {
    const since = expected.open?.since ?? now;
    const ageMs = Math.max(0, now.getTime() - since.getTime());
    const overdue = ageMs > this.limits.openAfterMs;
    if (overdue && effect !== null) return this.append(this.missingHere, toOverdue(expected, effect));
    if (overdue) this.overdue += 1;
    this.append(this.open, {
      ...lineOf(expected),
      amount: Number(expected.amountMinor),
      currency: expected.currency,
      since: since.toISOString(),
      age_seconds: Math.round(ageMs / 1_000),
      overdue,
      is_there: effect !== null,
      idempotency_key: expected.open?.claim?.idempotencyKey ?? null,
      repairable: repairableClaim(expected, effect) !== null,
      advice: openAdvice(expected, effect !== null),
    });
  }

  private append<Item>(list: List<Item>, item: Item): void {
    list.count += 1;
    if (list.data.length < this.limits.shown) list.data.push(item);
  }
}

/**
 * The claims whose outcome is known, so that recovery can settle them: open here, done there under the same key and for
 * the same amount, and with no process working on them. A program cannot safely repair anything else.
 */
export function repairableClaims(findings: readonly Finding[]): OpenClaim[] {
  return findings.flatMap((finding) =>
    finding.list === 'open' ? (repairableClaim(finding.expected, finding.effect) ?? []) : [],
  );
}

function repairableClaim({ open }: ExpectedEffect, effect: GatewayEffect | null): OpenClaim | null {
  return effect !== null && open?.claim?.leaseExpired === true ? open.claim : null;
}

function toMissingHere({ effect, ours, reason }: Extract<Finding, { list: 'missing_here' }>): MissingHere {
  return {
    ...effectLine(effect),
    merchant_id: ours?.merchantId ?? null,
    transaction_id: ours?.transactionId ?? effect.transactionId,
    status_here: ours?.status ?? null,
    reason,
    repairable: false,
    advice: missingHereAdvice(effect, ours, reason),
  };
}

function toOverdue(expected: ExpectedEffect, effect: GatewayEffect): MissingHere {
  return {
    ...effectLine(effect),
    ...lineOf(expected),
    status_here: expected.kind === 'capture' || expected.kind === 'void' ? 'authorized' : 'pending',
    reason: 'open',
    repairable: repairableClaim(expected, effect) !== null,
    advice: openAdvice(expected, true),
  };
}

function effectLine(effect: GatewayEffect) {
  return {
    kind: effect.kind,
    refund_id: effect.refundId,
    gateway_key: effect.gatewayKey,
    reference: effect.reference,
    charge_reference: effect.chargeReference,
    amount: effect.amountMinor === null ? null : Number(effect.amountMinor),
    currency: effect.currency,
    at: effect.at.toISOString(),
  };
}

function toMissingThere(expected: ExpectedEffect): MissingThere {
  return {
    ...lineOf(expected),
    reference: expected.reference ?? expected.chargeReference,
    amount: Number(expected.takenMinor),
    currency: expected.currency,
    advice: missingThereAdvice(expected),
  };
}

function toAmountDiffers(expected: ExpectedEffect, effect: GatewayEffect): AmountDiffers {
  // If our books contradict themselves, show the number that the gateway does not have.
  const { amountMinor, takenMinor } = expected;
  const here = amountMinor === effect.amountMinor ? takenMinor : amountMinor;
  return {
    ...lineOf(expected),
    reference: effect.reference,
    amount_here: Number(here),
    currency_here: expected.currency,
    amount_there: effect.amountMinor === null ? null : Number(effect.amountMinor),
    currency_there: effect.currency,
    advice: DIFFERS_ADVICE,
  };
}

function lineOf(expected: ExpectedEffect): Omit<Line, 'advice'> {
  const { kind, merchantId, transactionId, refundId, gatewayKey } = expected;
  return {
    kind,
    merchant_id: merchantId,
    transaction_id: transactionId,
    refund_id: refundId,
    gateway_key: gatewayKey,
  };
}
