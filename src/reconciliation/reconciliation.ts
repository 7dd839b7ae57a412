import { validate as isUuid } from 'uuid';
import type { GatewayBooks, GatewayEffect, TimeRange } from '../gateways/gateway-books.js';
import { comparePayment, type Finding } from './compare.js';
import type { EffectStage } from './effect-stage.js';
import type { BookedPayment, OurBooksStore } from './our-books.store.js';

/** Payments per page: bounds the memory, whatever the number of payments. */
const PAGE_SIZE = 500;
const LOWEST_ID = '00000000-0000-0000-0000-000000000000';

export interface Scope extends TimeRange {
  /** Null for all. */
  merchantId: string | null;
}

export interface Compared {
  payments: number;
  refunds: number;
  effects: number;
}

/**
 * Compares two books while both are being written.
 *
 * It reads theirs first, then ours. That order is right for what they have and we lack: we commit a payment as pending
 * before we call the gateway, so every effect in theirs already has its payment in ours. It is wrong for what we have
 * and they seem to lack, because that may have happened in between. So the first reading reports no difference. Each
 * difference is checked again with theirs read between two readings of ours. What they lack is then missing only if our
 * earlier reading has it as settled, and what we lack only if our later reading still lacks it.
 */
export class Reconciliation {
  private payments = 0;
  private refunds = 0;

  /**
   * @param stage must be empty; the caller closes it
   * @param tell is called with the findings, a few payments at a time
   */
  constructor(
    private readonly ours: OurBooksStore,
    private readonly theirs: GatewayBooks,
    private readonly stage: EffectStage,
    private readonly tell: (findings: Finding[]) => Promise<void>,
  ) {}

  /**
   * Compares our payments that were made in the range, with their effects at any time, and the gateway's effects in the
   * range, whenever their payments were made.
   */
  async run(scope: Scope): Promise<Compared> {
    // While the service runs there are always newer payments. Those made after now are left to another run.
    const now = new Date();
    for await (const page of this.theirs.effects(scope)) this.stage.add(page);
    const merchants = scope.merchantId === null ? await this.ours.merchants() : [scope.merchantId];
    for (const merchantId of merchants)
      await this.walkOurs(merchantId, { from: scope.from, to: scope.to ?? now });
    await this.walkTheirs(scope);
    return { payments: this.payments, refunds: this.refunds, effects: this.stage.size };
  }

  /** Compares every payment that a merchant made in the range. */
  private async walkOurs(merchantId: string, { from, to }: { from: Date | null; to: Date }): Promise<void> {
    const before = firstIdOf(to);
    for (let after = from === null ? LOWEST_ID : firstIdOf(from); ;) {
      const page = await this.ours.page({ merchantId, after, before, limit: PAGE_SIZE });
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.transactionId;
      this.payments += page.length;
      this.refunds += page.reduce((sum, { refunds }) => sum + refunds.length, 0);
      const effects = this.stage.take(page.map(({ transactionId }) => transactionId));
      const differing = compareAll(byId(page), effects);
      await this.confirm(differing, effects, byId(page));
    }
  }

  /**
   * Compares what is left at the gateway: effects of payments made outside the range, of other merchants' payments, or
   * of no payment. Other effects that such a payment implies are out of scope.
   */
  private async walkTheirs({ merchantId }: Scope): Promise<void> {
    for (const ids of this.stage.untaken(PAGE_SIZE)) {
      const effects = this.stage.take(ids);
      const ours = byId(await this.find(ids, merchantId));
      // With the scope of one merchant, we must know that the payment is theirs.
      const isConcerned = ({ transactionId }: GatewayEffect): boolean =>
        merchantId === null || ours.has(transactionId);
      const differing = compareAll(ours, effects.filter(isConcerned)).filter(isTheirs);
      await this.confirm(differing, effects, ours, isTheirs);
    }
  }

  private async confirm(
    findings: readonly Finding[],
    effects: readonly GatewayEffect[],
    before: ReadonlyMap<string, BookedPayment>,
    isInScope: (finding: Finding) => boolean = () => true,
  ): Promise<void> {
    const ids = [...new Set(findings.map(idOf))];
    if (ids.length === 0) return;
    const known = Map.groupBy(effects, ({ transactionId }) => transactionId);
    const between = await this.theirs.effectsOf(
      ids.map((transactionId) => ({
        transactionId,
        chargeReferences: referencesOf(before.get(transactionId), known.get(transactionId) ?? []),
      })),
    );
    const after = byId(await this.find(ids, null));
    const confirmed = [
      ...compareAll(before, between, ids).filter((finding) => !isTheirs(finding)),
      ...compareAll(after, between, ids).filter(isTheirs),
    ].filter(isInScope);
    if (confirmed.length > 0) await this.tell(confirmed);
  }

  /** The gateway may hold ids that are not ours. */
  private async find(transactionIds: readonly string[], merchantId: string | null): Promise<BookedPayment[]> {
    const ids = transactionIds.filter((id) => isUuid(id));
    return ids.length === 0 ? [] : this.ours.find(ids, merchantId);
  }
}

function compareAll(
  payments: ReadonlyMap<string, BookedPayment>,
  effects: readonly GatewayEffect[],
  only?: readonly string[],
): Finding[] {
  const byPayment = Map.groupBy(effects, ({ transactionId }) => transactionId);
  const ids = new Set(only ?? [...payments.keys(), ...byPayment.keys()]);
  return [...ids].flatMap((id) => comparePayment(payments.get(id) ?? null, byPayment.get(id) ?? []));
}

function isTheirs({ list }: Finding): boolean {
  return list !== 'missing_there';
}

function byId(payments: readonly BookedPayment[]): Map<string, BookedPayment> {
  return new Map(payments.map((payment) => [payment.transactionId, payment]));
}

function idOf(finding: Finding): string {
  return finding.list === 'missing_here' ? finding.effect.transactionId : finding.expected.transactionId;
}

function referencesOf(
  payment: BookedPayment | undefined,
  effects: readonly GatewayEffect[],
): readonly string[] {
  const references = effects.map(({ chargeReference }) => chargeReference);
  return [...new Set([payment?.gatewayReference ?? [], references].flat())];
}

/** Lower than every id made at `time` or later: a UUIDv7 begins with its milliseconds (RFC 9562 section 5.7). */
function firstIdOf(time: Date): string {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
