import { API_KEY, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';
import { createEndpoint, emit, newEvents, Receiver } from '../support/webhooks.js';

interface TryJson {
  response_status: number | null;
  response_body: string | null;
  error: string | null;
  duration_ms: number;
}

interface DeliveryJson {
  webhook_delivery_id: string;
  event_id: string;
  status: string;
  next_try_at: string | null;
  tries_count: number;
  tries: TryJson[];
}

/** A service, and a receiver for what it delivers. */
export class WebhooksFixture {
  private constructor(
    readonly app: TestApp,
    readonly receiver: Receiver,
  ) {}

  static async start(): Promise<WebhooksFixture> {
    return new WebhooksFixture(await TestApp.start({ WEBHOOK_TIMEOUT: '1500ms' }), await Receiver.start());
  }

  async stop(): Promise<void> {
    await this.app.stop();
    await this.receiver.stop();
  }

  call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', url: string, payload?: object) {
    const headers = { authorization: `Bearer ${API_KEY}`, 'idempotency-key': newKey() };
    return this.app.app.inject({ method, url, headers, ...(payload && { payload }) });
  }

  async deliveriesOf(endpointId: string): Promise<DeliveryJson[]> {
    return (await this.call('GET', `/v1/webhook-endpoints/${endpointId}/deliveries`)).json().data;
  }

  /** Creates an endpoint at a path of the receiver. */
  endpointAt(path: string, body: object = {}) {
    return createEndpoint(this.app, { url: this.receiver.url(path), ...body });
  }

  /** Sends one event to a new endpoint and waits for the first try. */
  async send(path: string) {
    const { webhook_endpoint_id: endpointId, secret } = await this.endpointAt(path);
    const [event] = newEvents(1);
    await emit(this.app, [event!]);
    const delivery = await eventually('a try', async () => {
      const [found] = await this.deliveriesOf(endpointId);
      return found !== undefined && found.tries_count > 0 && found;
    });
    return { endpointId, secret, event: event!, delivery };
  }
}
