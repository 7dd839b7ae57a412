import { StartupError } from '../../config/startup-error.js';
import {
  GatewayBooks,
  isWithin,
  type EffectKind,
  type GatewayEffect,
  type PaymentInBooks,
  type TimeRange,
} from '../gateway-books.js';
import type { WireCall, WireEffect } from './sandbox-wire.js';

const PAGE_SIZE = 1_000;
/** Requests in flight at once. */
const MAX_CONCURRENT = 8;
const ANSWER_LIMIT_MS = 10_000;

/** The sandbox provider's books, from its own process. */
export class SandboxHttpBooks extends GatewayBooks {
  readonly name = 'sandbox';

  /** @param base where the gateway's process listens, without a trailing slash. */
  constructor(private readonly base: string) {
    super();
  }

  async *effects(range: TimeRange): AsyncIterable<GatewayEffect[]> {
    let after: number | null = 0;
    while (after !== null) {
      const path = `/books?limit=${PAGE_SIZE}&after=${after}`;
      const page: { data: WireEffect[]; next_after: number | null } = await this.get(path);
      yield page.data.map(toEffect).filter(({ at }) => isWithin(range, at));
      after = page.next_after;
    }
  }

  async effectsOf(payments: readonly PaymentInBooks[]): Promise<GatewayEffect[]> {
    const found: GatewayEffect[] = [];
    for (let start = 0; start < payments.length; start += MAX_CONCURRENT) {
      const calls = await Promise.all(
        payments.slice(start, start + MAX_CONCURRENT).map((payment) => this.callsOf(payment)),
      );
      found.push(...calls.flat());
    }
    return found;
  }

  close(): void {
    // There is nothing to close.
  }

  private async callsOf(payment: PaymentInBooks): Promise<GatewayEffect[]> {
    const { chargeKey, chargeReferences, transactionId } = payment;
    const query = new URLSearchParams();
    for (const reference of chargeReferences) query.append('charge_reference', reference);
    if (chargeKey !== null) query.set('charge_idempotency_key', chargeKey);
    if (transactionId !== null) query.set('transaction_id', transactionId);
    const { data } = await this.get<{ data: WireCall[] }>(`/calls?${String(query)}`);
    return data.filter(({ status }) => status === 'approved').map(toEffect);
  }

  private async get<Body>(path: string): Promise<Body> {
    try {
      const signal = AbortSignal.timeout(ANSWER_LIMIT_MS);
      const response = await fetch(this.base + path, { redirect: 'error', signal });
      if (response.ok) return (await response.json()) as Body;
      throw new Error(`it answered ${response.status}`);
    } catch (error) {
      const { message, cause } = error as Error;
      const reason = cause instanceof Error ? cause.message || cause.name : message;
      throw new StartupError(`The sandbox gateway at ${this.base} cannot be asked: ${reason}.`, {
        cause: error,
      });
    }
  }
}

function toEffect(wire: WireEffect): GatewayEffect {
  return {
    kind: wire.kind as EffectKind,
    reference: wire.reference,
    chargeReference: wire.charge_reference ?? wire.reference,
    chargeKey: wire.charge_idempotency_key,
    gatewayKey: wire.idempotency_key,
    transactionId: wire.transaction_id,
    refundId: wire.refund_id,
    amountMinor: BigInt(wire.amount),
    currency: wire.currency,
    at: new Date(wire.at),
  };
}
