import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebhookDispatcher } from '../../src/webhooks/delivery/webhook-dispatcher.js';
import { WebhooksSink } from '../../src/webhooks/delivery/webhooks.sink.js';
import type { OutboxEvent } from '../../src/events/event.js';
import type { EventType } from '../../src/events/event.js';
import { uuidv7 } from '../../src/ids/uuidv7.js';
import { API_KEY, newKey } from './client.js';
import type { Evidence } from './evidence.js';
import type { TestApp } from './test-app.js';

const SANDBOX_MERCHANT = '00000000-0000-7000-8000-000000000001';

/** A request that the receiver got, byte for byte. */
export interface Received {
  path: string;
  id: string;
  headers: IncomingHttpHeaders;
  body: string;
  atMs: number;
}

type Answer = (response: ServerResponse, received: Received) => void;

export const OK: Answer = (response) => void response.writeHead(204).end();

export function status(code: number, headers: Record<string, string> = {}, body = ''): Answer {
  return (response) => void response.writeHead(code, headers).end(body);
}

/** A merchant's own server. It records what arrives, and answers as the test says. */
export class Receiver {
  readonly received: Received[] = [];
  answer: Answer;

  private constructor(
    private readonly server: Server,
    answer: Answer,
  ) {
    this.answer = answer;
  }

  static async start(answer: Answer = OK): Promise<Receiver> {
    const server = createServer();
    const receiver = new Receiver(server, answer);
    server.on('request', (request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const received = {
          path: request.url ?? '',
          id: String(request.headers['webhook-id']),
          headers: request.headers,
          body: Buffer.concat(chunks).toString('utf8'),
          atMs: performance.now(),
        };
        receiver.received.push(received);
        receiver.answer(response, received);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  url(path = '/'): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}${path}`;
  }

  /** The requests to one path. */
  at(path: string): Received[] {
    return this.received.filter((received) => received.path === path);
  }

  /** Drops the connections that it has not answered. */
  dropConnections(): void {
    this.server.closeAllConnections();
  }

  async stop(): Promise<void> {
    this.dropConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

interface EndpointReply {
  webhook_endpoint_id: string;
  secret: string;
}

/** Creates an endpoint of the sandbox's merchant. */
export async function createEndpoint(
  { app }: Pick<TestApp, 'app'>,
  body: Record<string, unknown>,
  apiKey = API_KEY,
): Promise<EndpointReply> {
  const reply = await app.inject({
    method: 'POST',
    url: '/v1/webhook-endpoints',
    headers: { authorization: `Bearer ${apiKey}`, 'idempotency-key': newKey() },
    payload: body,
  });
  if (reply.statusCode !== 201) throw new Error(`no endpoint: ${reply.statusCode} ${reply.body}`);
  return reply.json();
}

/** `count` events, of `payments` payments in turn. Each payment's events are numbered from 1. */
export function newEvents(
  count: number,
  {
    payments = 1,
    merchantId = SANDBOX_MERCHANT,
    type = 'payment.completed',
  }: { payments?: number; merchantId?: string; type?: EventType } = {},
): OutboxEvent[] {
  const ids = Array.from({ length: payments }, () => uuidv7());
  return Array.from({ length: count }, (_, index) => {
    const transactionId = ids[index % payments]!;
    return {
      merchantId,
      eventId: uuidv7(),
      type,
      transactionId,
      sequence: Math.floor(index / payments) + 1,
      createdAt: new Date(),
      resource: `{"transaction_id":"${transactionId}","amount":1999, "description":"Ünïcode \\u0022"}`,
    };
  });
}

/** Writes events as settlements do. */
export async function writeEvents(evidence: Evidence, events: readonly OutboxEvent[]): Promise<void> {
  await evidence.query(
    `INSERT INTO events (merchant_id, event_id, type, transaction_id, sequence, resource, created_at)
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::int[], $6::json[], $7::timestamptz[])`,
    [
      events.map((event) => event.merchantId),
      events.map((event) => event.eventId),
      events.map((event) => event.type),
      events.map((event) => event.transactionId),
      events.map((event) => event.sequence),
      events.map((event) => event.resource),
      events.map((event) => event.createdAt),
    ],
  );
}

/** Writes events, and delivers them to the sink as a relay does. */
export async function emit({ app, evidence }: TestApp, events: readonly OutboxEvent[]): Promise<void> {
  await writeEvents(evidence, events);
  await app.get(WebhooksSink).handOn(events);
}

/** Makes everything that waits for an endpoint due now. */
export async function hurry({ app, evidence }: TestApp, endpointId: string): Promise<void> {
  await evidence.query(
    'UPDATE pgboss.job SET start_after = now() WHERE start_after > now() AND group_id = $1',
    [endpointId],
  );
  app.get(WebhookDispatcher).wake();
}
