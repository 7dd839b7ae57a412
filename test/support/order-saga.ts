import { setTimeout as sleep } from 'node:timers/promises';
import { MANUAL, post } from './api.js';
import type { Reply } from './client.js';
import type { ServiceProcess } from './service-process.js';

/** The steps of an order, in their order. Each has a compensation; shipping is the point of no return. */
export const SAGA_STEPS = ['reserve stock', 'authorize', 'ship', 'capture'] as const;
type SagaStep = (typeof SAGA_STEPS)[number];

/** Where a coordinator can die: before a step is sent, or when it has been done and is not noted yet. */
export type SagaCrash = `${'before' | 'after'} ${SagaStep}`;

/** What a coordinator writes down before it acts, and finds again when it has been started anew. */
export interface Journal {
  orderId: string;
  done: Set<SagaStep>;
  /** Set before the goods are sent, and never taken back: from here on the order is carried out. */
  shipping: boolean;
  /** Set once, and never taken back: from here on the order is undone. */
  compensating: boolean;
  ended: 'delivered' | 'undone' | null;
}

/** The shop's own service: idempotent by order, as every participant of a saga has to be. */
export class Stock {
  readonly reserved = new Set<string>();
  readonly shipped = new Set<string>();
}

export class CoordinatorCrash extends Error {
  override readonly name = 'CoordinatorCrash';
}

const RETRY_MS = 50;

/**
 * An order as a saga, as `docs/saga.md` tells it: forward step by step; when one is refused before the goods have left,
 * back through the compensations. It may die anywhere: another one goes on from the journal.
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

  /** Carries the order to its end, from wherever it stands. */
  async run(): Promise<void> {
    if (!this.journal.compensating) await this.forward();
    if (this.journal.compensating) await this.back();
  }

  /**
   * For a coordinator that was started anew. It does not know whether the step in flight had its effect, and need not:
   * before the goods have left it undoes, afterwards it goes on.
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

  /** @returns false where the step was refused for good. */
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
        // The same request again tells what the payment is called: nothing else needs to be kept.
        const body = { ...MANUAL, payment_method: this.paymentMethod };
        const { json } = await this.ask('/v1/payments', paymentKey(orderId), body);
        const path = `/v1/payments/${String(json['transaction_id'])}/capture`;
        return (await this.ask(path, `${orderId}-capture`, {})).status === 200;
      }
    }
  }

  /** The compensations, last step first. Each may be repeated, and none asks whether its step had happened. */
  private async back(): Promise<void> {
    const { orderId } = this.journal;
    await this.ask('/v1/reversals', `${orderId}-reversal`, { idempotency_key: paymentKey(orderId) });
    this.stock.reserved.delete(orderId);
    this.journal.ended = 'undone';
  }

  /** The same request under the same key until its answer is final, whatever happens to the service meanwhile. */
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

/** Made from the order alone, so that a coordinator which has forgotten everything else asks under the same one. */
export function paymentKey(orderId: string): string {
  return `${orderId}-payment`;
}
