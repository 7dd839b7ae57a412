import { setTimeout as sleep } from 'node:timers/promises';
import { MANUAL, post } from './api.js';
import type { Reply } from './client.js';
import type { ServiceProcess } from './service-process.js';

/** The steps of an order, in sequence. Each has a compensation; shipping is the point of no return. */
export const SAGA_STEPS = ['reserve stock', 'authorize', 'ship', 'capture'] as const;
type SagaStep = (typeof SAGA_STEPS)[number];

/** Where a coordinator can die: before it sends a step, or after the step is done and before it is noted. */
export type SagaCrash = `${'before' | 'after'} ${SagaStep}`;

/** What a coordinator writes down before it acts, and reads again after a restart. */
export interface Journal {
  orderId: string;
  done: Set<SagaStep>;
  /** Set before the goods are sent, and never unset: from here on the order is completed. */
  shipping: boolean;
  /** Set once and never unset: from here on the order is undone. */
  compensating: boolean;
  ended: 'delivered' | 'undone' | null;
}

/** The shop's own service. It is idempotent per order, as every participant in a saga must be. */
export class Stock {
  readonly reserved = new Set<string>();
  readonly shipped = new Set<string>();
}

export class CoordinatorCrash extends Error {
  override readonly name = 'CoordinatorCrash';
}

const RETRY_MS = 50;

/**
 * An order as a saga, as `docs/saga.md` describes it: forward step by step, or, if a step is refused before the goods
 * have left, back through the compensations. It may die anywhere: another coordinator continues from the journal.
 */
export class OrderSaga {
  constructor(
    private readonly journal: Journal,
    private readonly stock: Stock,
    private readonly service: Pick<ServiceProcess, 'baseUrl' | 'alive'>,
    private readonly paymentMethod: string,
    private readonly crash: SagaCrash | null = null,
  ) {}

  static journal(orderId: string): Journal {
    return { orderId, done: new Set(), shipping: false, compensating: false, ended: null };
  }

  /** Carries the order to its end from any state. */
  async run(): Promise<void> {
    if (!this.journal.compensating) await this.forward();
    if (this.journal.compensating) await this.back();
  }

  /**
   * For a restarted coordinator. It does not know whether the step in flight had its effect, and need not: before the
   * goods have left it undoes the order, afterwards it goes on.
   */
  async recover(): Promise<void> {
    if (!this.journal.shipping) this.journal.compensating = true;
    await this.run();
  }

  private async forward(): Promise<void> {
    for (const step of SAGA_STEPS) {
      if (this.journal.done.has(step)) continue;
      this.dieAt(`before ${step}`);
      if (step === 'ship') this.journal.shipping = true;
      if (!(await this.do(step))) {
        this.journal.compensating = true;
        return;
      }
      this.dieAt(`after ${step}`);
      this.journal.done.add(step);
    }
    this.journal.ended = 'delivered';
  }

  /** @returns false if the step was refused for good */
  private async do(step: SagaStep): Promise<boolean> {
    const { orderId } = this.journal;
    switch (step) {
      case 'reserve stock':
        this.stock.reserved.add(orderId);
        return true;
      case 'authorize': {
        const body = { ...MANUAL, payment_method: this.paymentMethod };
        return (await this.ask('/v1/payments', paymentKey(orderId), body)).status === 201;
      }
      case 'ship':
        this.stock.shipped.add(orderId);
        return true;
      case 'capture': {
        // Sending the same request again returns the payment's id, so there is no need to keep it.
        const body = { ...MANUAL, payment_method: this.paymentMethod };
        const { json } = await this.ask('/v1/payments', paymentKey(orderId), body);
        const path = `/v1/payments/${String(json['transaction_id'])}/capture`;
        return (await this.ask(path, `${orderId}-capture`, {})).status === 200;
      }
    }
  }

  /** Runs the compensations, last step first. Each may be repeated, and none checks whether its step happened. */
  private async back(): Promise<void> {
    const { orderId } = this.journal;
    await this.ask('/v1/reversals', `${orderId}-reversal`, { idempotency_key: paymentKey(orderId) });
    this.stock.reserved.delete(orderId);
    this.journal.ended = 'undone';
  }

  /** Repeats a request under the same key until the answer is final, whatever happens to the service. */
  private async ask(path: string, key: string, body: object): Promise<Reply> {
    for (;;) {
      if (!this.service.alive) throw new CoordinatorCrash('with its service');
      const reply = await post(this.service, path, { key, body }).catch(() => null);
      if (reply !== null && reply.status !== 202 && reply.json['retry'] !== 'same_key') return reply;
      await sleep(RETRY_MS);
    }
  }

  private dieAt(point: SagaCrash): void {
    if (point === this.crash) throw new CoordinatorCrash(point);
  }
}

/** Derived from the order alone, so that a coordinator that lost everything else sends the same key. */
export function paymentKey(orderId: string): string {
  return `${orderId}-payment`;
}
