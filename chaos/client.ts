import { setTimeout as sleep } from 'node:timers/promises';
import { isFinal, type Entry, type Heard, type Intent, type Journal } from './journal.js';
import type { Market } from './market.js';
import { DEEDS, PAYMENT_METHODS, type Deed } from './plan.js';
import type { Random } from './random.js';
import { get, send } from './wire.js';

const CURRENCIES = ['EUR', 'USD', 'JPY', 'KWD'] as const;
const MAX_AMOUNT = 100_000;
const PATIENT_TRIES = 40;
const IMPATIENT_TRIES = 2;
/** After asking for this long a client gives up; it may come back once, at the end. */
const PATIENCE_MS = 20_000;
const THINK_MS = [5, 60] as const;
const RETRY_MS = [50, 500] as const;

/** Pays, ends authorizations, refunds and reverses, and retries as real clients do. Some give up, some hang up. */
export class Client {
  private deeds = 0;

  constructor(
    private readonly name: string,
    private readonly random: Random,
    private readonly services: readonly string[],
    private readonly journal: Journal,
    private readonly market: Market,
  ) {}

  /** Starts nothing new after `untilMs`. Resolves when all that it started has ended or been given up. */
  async live(untilMs: number): Promise<void> {
    while (Date.now() < untilMs) {
      this.deeds += 1;
      await this.act(this.random.weighted(DEEDS));
      await sleep(this.random.between(...THINK_MS));
    }
  }

  private async act(deed: Deed): Promise<void> {
    switch (deed) {
      case 'charge':
        return this.pay(this.charge());
      case 'end':
        return this.endAuthorization();
      case 'refund':
        return this.refund();
      case 'charge and reverse':
        return this.chargeAndReverse();
      case 'reverse before':
        return this.reverseBefore();
      case 'reverse':
        return this.undo();
      case 'at both services':
        return this.atBothServices();
      case 'other body at once':
        return this.otherBodyAtOnce();
      case 'other body later':
        return this.otherBodyLater();
      case 'repeat':
        return this.repeat();
      case 'read':
        return this.read();
    }
  }

  private async pay(intent: Intent): Promise<void> {
    this.market.note(intent, await this.pursue(intent));
  }

  /** Captures an authorization, in whole or in part, or cancels it. Sometimes two clients try at once. */
  private async endAuthorization(): Promise<void> {
    const payment = this.market.authorized(this.random);
    if (payment === undefined) return this.pay(this.charge({ capture_method: 'manual' }));
    const intents = [this.end(payment.transactionId, payment.amount)];
    if (this.random.chance(0.2)) intents.push(this.end(payment.transactionId, payment.amount));
    const entries = await Promise.all(intents.map((intent) => this.pursue(intent)));
    intents.forEach((intent, index) => this.market.note(intent, entries[index]!));
  }

  private end(transactionId: string, amount: number): Intent {
    const operation = this.random.chance(0.7) ? 'capture' : 'cancel';
    const part = operation === 'capture' && this.random.chance(0.5);
    return {
      key: this.newKey(operation),
      operation,
      path: `/v1/payments/${transactionId}/${operation}`,
      // Sometimes more than was authorized.
      body: part ? { amount: this.random.between(1, Math.ceil(amount * 1.1)) } : {},
      transactionId,
    };
  }

  private async refund(): Promise<void> {
    const payment = this.market.completed(this.random);
    if (payment === undefined) return this.pay(this.charge({ capture_method: 'automatic' }));
    const count = this.random.chance(0.25) ? 2 : 1;
    await Promise.all(
      Array.from({ length: count }, () =>
        this.pursue({
          key: this.newKey('refund'),
          operation: 'refund',
          path: `/v1/payments/${payment.transactionId}/refunds`,
          body: this.random.chance(0.5) ? { amount: this.random.between(1, payment.amount) } : {},
          transactionId: payment.transactionId,
        }),
      ),
    );
  }

  /** A saga that runs out of patience while its payment is still in flight. */
  private async chargeAndReverse(): Promise<void> {
    const intent = this.charge();
    const [entry] = await Promise.all([
      this.pursue(intent),
      sleep(this.random.between(0, 700)).then(() => this.pursue(this.reversalOf(intent.key))),
    ]);
    this.market.note(intent, entry, { reversed: true });
  }

  /** The payment arrives after its reversal, or never. */
  private async reverseBefore(): Promise<void> {
    const intent = this.charge();
    await this.pursue(this.reversalOf(intent.key));
    if (this.random.chance(0.7)) await this.pursue(intent);
  }

  private async undo(): Promise<void> {
    // Sometimes the key made no payment, or another client reverses it too.
    const key = this.market.reversible(this.random);
    if (key !== undefined) await this.pursue(this.reversalOf(key));
  }

  private async atBothServices(): Promise<void> {
    const intent = this.charge();
    const entries = await Promise.all([0, 1].map((service) => this.pursue(intent, service)));
    this.market.note(intent, entries[0]!);
  }

  /** Two different payments under one key: at most one is served. */
  private async otherBodyAtOnce(): Promise<void> {
    const intent = this.charge();
    const other = { ...this.charge(), key: intent.key };
    await Promise.all([this.pursue(intent), this.pursue(other)]);
  }

  private async otherBodyLater(): Promise<void> {
    const earlier = this.market.answered(this.random);
    if (earlier === undefined) return;
    await this.pursue({ ...this.charge(), key: earlier.key });
  }

  private async repeat(): Promise<void> {
    const earlier = this.market.answered(this.random);
    if (earlier !== undefined) await this.pursue(earlier);
  }

  private async read(): Promise<void> {
    const payment = this.market.any(this.random);
    const service = this.random.pick(this.services);
    if (payment === undefined || service === undefined) return;
    const heard = await get(service, `/v1/payments/${payment.transactionId}`);
    if (heard !== null) this.journal.readings.push({ transactionId: payment.transactionId, heard });
  }

  /** Retries until the answer is final or patience runs out. */
  private async pursue(intent: Intent, onlyService?: number): Promise<Entry> {
    const entry = this.journal.open(intent);
    const maxTries = this.random.chance(0.15) ? this.random.between(1, IMPATIENT_TRIES) : PATIENT_TRIES;
    const giveUpAtMs = Date.now() + PATIENCE_MS;
    let service = onlyService ?? this.random.between(0, this.services.length - 1);
    for (let tries = 1; ; tries += 1) {
      const heard = await this.tryOnce(entry, service);
      if (heard !== null && isFinal(heard)) {
        this.market.heard(intent, heard);
        return entry;
      }
      if (tries >= maxTries || Date.now() > giveUpAtMs) break;
      await sleep(this.random.between(...RETRY_MS));
      // Like a load balancer: a service that did not answer is not tried next.
      if (onlyService === undefined) service = heard === null ? 1 - service : this.random.between(0, 1);
    }
    entry.lost = true;
    return entry;
  }

  private async tryOnce(entry: Entry, service: number): Promise<Heard | null> {
    const hangsUp = this.random.chance(0.04);
    const heard = await send(this.services[service] ?? '', entry.intent, {
      limitMs: hangsUp ? this.random.between(1, 60) : this.random.between(2_000, 8_000),
      headers: this.random.chance(0.3) ? { prefer: `wait=${this.random.between(1, 4)}` } : {},
    });
    entry.tries.push({ service, heard });
    return heard;
  }

  private charge(fixed: Record<string, unknown> = {}): Intent {
    return {
      key: this.newKey('charge'),
      operation: 'charge',
      path: '/v1/payments',
      body: {
        amount: this.random.between(1, MAX_AMOUNT),
        currency: this.random.pick(CURRENCIES),
        payment_method: this.random.weighted(PAYMENT_METHODS),
        capture_method: this.random.chance(0.4) ? 'manual' : 'automatic',
        ...(this.random.chance(0.2) && { description: `${this.name} № ${this.deeds}` }),
        ...fixed,
      },
    };
  }

  private reversalOf(key: string): Intent {
    return {
      key: this.newKey('reversal'),
      operation: 'reversal',
      path: '/v1/reversals',
      body: { idempotency_key: key },
    };
  }

  private keys = 0;

  private newKey(operation: string): string {
    this.keys += 1;
    return `${this.name}-${this.keys}-${operation}`;
  }
}
