import type { GatewayBooks, GatewayEffect, PaymentInBooks, TimeRange } from '../gateways/gateway-books.js';
import { comparePayment, type Finding } from './compare.js';
import type { EffectStage, PaymentName } from './effect-stage.js';
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
      await this.confirm(inBothBooks(page, this.stage.take(page.map(nameOf))));
    }
  }

  /**
   * Compares what is left at the gateway: effects of payments made outside the range, of other merchants' payments, or
   * of no payment. Other effects that such a payment implies are out of scope.
   */
  private async walkTheirs({ merchantId }: Scope): Promise<void> {
    for (const untaken of this.stage.untaken(PAGE_SIZE)) {
      const ours = await this.ours.find(untaken, merchantId);
      const nameless = untaken.filter(
        ({ chargeKey, transactionId }) => chargeKey === null && transactionId === null,
      );
      const effects = [...this.stage.take([...untaken, ...ours.map(nameOf)]), ...nameless];
      // With the scope of one merchant, we must know that the payment is theirs.
      const concerned = inBothBooks(ours, effects).filter(
        (payment) => merchantId === null || payment.ours !== null,
      );
      await this.confirm(concerned, isTheirs);
    }
  }

  /** Checks what differs a second time, and tells what differs then. */
  private async confirm(
    payments: readonly PaymentInBoth[],
    isInScope: (finding: Finding) => boolean = () => true,
  ): Promise<void> {
    const differing = payments.filter((payment) => findingsOf(payment).some(isInScope));
    if (differing.length === 0) return;
    const between = await this.theirs.effectsOf(differing.map(nameInBooks));
    const before = differing.flatMap(({ ours }) => ours ?? []);
    const after = await this.ours.find(differing.map(nameInBooks), null);
    const confirmed = [
      ...inBothBooks(before, between)
        .flatMap(findingsOf)
        .filter((finding) => !isTheirs(finding)),
      ...inBothBooks(after, between).flatMap(findingsOf).filter(isTheirs),
    ].filter(isInScope);
    if (confirmed.length > 0) await this.tell(confirmed);
  }
}

/** A payment with its effects at the gateway. `ours` is null for effects of no payment of ours. */
interface PaymentInBoth {
  ours: BookedPayment | null;
  theirs: GatewayEffect[];
}

/**
 * Brings each payment together with its effects: by the key of its charge, or by our id, which the calls of earlier
 * versions carried.
 */
function inBothBooks(payments: readonly BookedPayment[], effects: readonly GatewayEffect[]): PaymentInBoth[] {
  const known = payments.map((ours): PaymentInBoth => ({ ours, theirs: [] }));
  const byKey = new Map(known.map((payment) => [payment.ours?.gatewayKey, payment]));
  const byId = new Map(known.map((payment) => [payment.ours?.transactionId, payment]));
  const unknown = new Map<string, PaymentInBoth>();
  for (const effect of effects) {
    const { chargeKey, transactionId, chargeReference } = effect;
    const own = byKey.get(chargeKey ?? undefined) ?? byId.get(transactionId ?? undefined);
    const name = chargeKey ?? transactionId ?? chargeReference;
    const payment = own ?? unknown.get(name) ?? { ours: null, theirs: [] };
    payment.theirs.push(effect);
    if (own === undefined) unknown.set(name, payment);
  }
  return [...known, ...unknown.values()];
}

function findingsOf({ ours, theirs }: PaymentInBoth): Finding[] {
  return comparePayment(ours, theirs);
}

function isTheirs({ list }: Finding): boolean {
  return list !== 'missing_there';
}

function nameOf({ gatewayKey, transactionId }: BookedPayment): PaymentName {
  return { chargeKey: gatewayKey, transactionId };
}

/** Where the gateway may have the effects of a payment. */
function nameInBooks({ ours, theirs }: PaymentInBoth): PaymentInBooks {
  const references = theirs.map(({ chargeReference }) => chargeReference);
  const { chargeKey = null, transactionId = null } = (ours ? nameOf(ours) : theirs[0]) ?? {};
  return {
    chargeKey,
    transactionId,
    chargeReferences: [...new Set([ours?.gatewayReference ?? [], references].flat())],
  };
}

/** Lower than every id made at `time` or later: a UUIDv7 begins with its milliseconds (RFC 9562 section 5.7). */
function firstIdOf(time: Date): string {
  const hex = Math.max(0, time.getTime()).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
