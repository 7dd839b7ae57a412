import { randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import { KeyManagement } from '../../src/auth/key-management.js';
import { newKey } from '../support/client.js';
import { TestApp } from '../support/test-app.js';

/** Both merchants use the same keys, but for different requests. */
export const KEYS = {
  completed: 'order-1',
  authorized: 'order-2',
  refund: 'order-1-refund',
  neverSent: 'order-3',
} as const;

/** A well-formed id that belongs to nothing. */
export const UNKNOWN = '019b2f6e-0000-7000-8000-000000000000';

const TABLES = [
  'payments',
  'refunds',
  'reversals',
  'idempotency_keys',
  'ledger_entries',
  'events',
  'webhook_endpoints',
  'webhook_deliveries',
];

export type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** A merchant that has one of everything that a path can name. */
export class Merchant {
  /** A payment, partly refunded. */
  completed = '';
  /** A payment that is not captured. */
  authorized = '';
  refundId = '';
  reversalId = '';
  /** The refund's event. */
  eventId = '';
  webhookEndpointId = '';
  webhookDeliveryId = '';

  private constructor(
    private readonly app: TestApp,
    readonly merchantId: string,
    private readonly apiKey: string,
  ) {}

  static async create(app: TestApp, name: string, amount: number): Promise<Merchant> {
    const { merchantId, apiKey } = await new KeyManagement(app.app.get(DataSource), true).createMerchant(
      name,
    );
    const merchant = new Merchant(app, merchantId, apiKey);
    await merchant.makePayments(amount);
    await merchant.makeWebhooks();
    return merchant;
  }

  /** A POST without a `key` gets a new one. */
  send(method: Method, url: string, payload?: object, key = newKey()) {
    return this.app.app.inject({
      method,
      url,
      headers: {
        authorization: `Bearer ${this.apiKey}`,
        ...(method === 'POST' && { 'idempotency-key': key }),
      },
      ...(payload !== undefined && { payload }),
    });
  }

  /** The JSON that a path answers with. */
  async get(url: string) {
    return (await this.send('GET', url)).json();
  }

  pay(amount: number, key: string) {
    return this.send(
      'POST',
      '/v1/payments',
      { amount, currency: 'EUR', payment_method: 'pm_card_visa' },
      key,
    );
  }

  /** All its rows, as text. */
  async rows(): Promise<string[]> {
    const rows: string[] = [];
    for (const table of TABLES) {
      const found = await this.app.evidence.query<{ row: string }>(
        `SELECT t::text AS row FROM ${table} t WHERE merchant_id = $1 ORDER BY 1`,
        [this.merchantId],
      );
      rows.push(...found.map(({ row }) => `${table} ${row}`));
    }
    return rows;
  }

  private async makePayments(amount: number): Promise<void> {
    const charge = { amount, currency: 'EUR', payment_method: 'pm_card_visa' };
    const manual = { ...charge, capture_method: 'manual' };
    this.completed = (await this.make('/v1/payments', charge, KEYS.completed)).transaction_id;
    this.authorized = (await this.make('/v1/payments', manual, KEYS.authorized)).transaction_id;
    const refundsUrl = `/v1/payments/${this.completed}/refunds`;
    this.refundId = (await this.make(refundsUrl, { amount: 1 }, KEYS.refund)).refund_id;
    this.eventId = (await this.get('/v1/events?limit=1')).data[0].event_id;
    this.reversalId = (await this.make('/v1/reversals', { idempotency_key: KEYS.neverSent })).reversal_id;
  }

  /** An endpoint for a type of event that does not happen here, and one delivery to it. */
  private async makeWebhooks(): Promise<void> {
    const endpoint = { url: 'http://127.0.0.1:9/', event_types: ['payment.canceled'] };
    this.webhookEndpointId = (await this.make('/v1/webhook-endpoints', endpoint)).webhook_endpoint_id;
    this.webhookDeliveryId = randomUUID();
    await this.app.evidence.query(
      `INSERT INTO webhook_deliveries
         (merchant_id, webhook_delivery_id, webhook_endpoint_id, event_id, event_type, status)
       SELECT merchant_id, $2, $3, event_id, type, 'delivered' FROM events WHERE merchant_id = $1 LIMIT 1`,
      [this.merchantId, this.webhookDeliveryId, this.webhookEndpointId],
    );
  }

  private async make(url: string, payload: object, key?: string) {
    const answer = await this.send('POST', url, payload, key);
    if (answer.statusCode !== 201) throw new Error(`not made: ${answer.statusCode} ${answer.body}`);
    return answer.json();
  }
}

/** A service with two merchants. */
export class TwoMerchants {
  private constructor(
    readonly app: TestApp,
    readonly ours: Merchant,
    readonly theirs: Merchant,
  ) {}

  static async open(): Promise<TwoMerchants> {
    const app = await TestApp.start();
    const ours = await Merchant.create(app, 'Ours', 1_000);
    return new TwoMerchants(app, ours, await Merchant.create(app, 'Theirs', 2_000));
  }

  close(): Promise<void> {
    return this.app.stop();
  }
}

/** An answer without the parts that always differ: request id and date. */
export function comparable(answer: { body: string; headers: object; statusCode: number }): unknown {
  const { 'x-request-id': requestId, date: _date, ...headers } = answer.headers as Record<string, unknown>;
  return {
    status: answer.statusCode,
    headers,
    body: answer.body.replaceAll(String(requestId), '<request id>'),
  };
}
