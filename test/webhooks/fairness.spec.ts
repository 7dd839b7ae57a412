import { chargeBody } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';
import { createEndpoint, emit, newEvents, Receiver, type Received } from '../support/webhooks.js';
import { MAX_IN_FLIGHT_PER_ENDPOINT } from '../../src/webhooks/delivery/webhook-dispatcher.js';

describe('a slow endpoint', () => {
  let app: TestApp;
  let slow: Receiver;
  let quick: Receiver;
  let slowId: string;

  beforeAll(async () => {
    app = await TestApp.start({ WEBHOOK_TIMEOUT: '60s' });
    slow = await Receiver.start(() => undefined);
    quick = await Receiver.start();
    slowId = (await createEndpoint(app, { url: slow.url() })).webhook_endpoint_id;
  });
  afterAll(async () => {
    await slow.stop();
    await app.stop();
    await quick.stop();
  });

  it('holds a few tries, and delays neither a charge nor deliveries to other endpoints', async () => {
    await emit(app, newEvents(300));
    await eventually('it is full', () => slow.received.length === MAX_IN_FLIGHT_PER_ENDPOINT);
    // Meanwhile the slow endpoint has as many tries as the limit allows.
    expect((await app.post(chargeBody())).statusCode).toBe(201);
    await createEndpoint(app, { url: quick.url(), event_types: ['refund.completed'] });
    const events = newEvents(50, { type: 'refund.completed' });
    const sentAtMs = performance.now();
    await emit(app, events);
    await eventually('all at the quick one', () => quick.received.length === events.length);
    const latest = quick.received.at(-1) as Received;
    expect(latest.atMs - sentAtMs).toBeLessThan(5_000);
    expect(slow.received).toHaveLength(MAX_IN_FLIGHT_PER_ENDPOINT);
  });

  it('gets one try at a time after failing for a minute, while its other deliveries wait untried', async () => {
    await app.evidence.query(
      `UPDATE webhook_endpoints SET failing_since = now() - interval '2 minutes' WHERE webhook_endpoint_id = $1`,
      [slowId],
    );
    const waiting = async () => {
      const [row] = await app.evidence.query<{ count: string }>(
        `SELECT count(*) FROM webhook_deliveries
         WHERE webhook_endpoint_id = $1 AND tries = 0 AND next_try_at > now() + interval '10 seconds'`,
        [slowId],
      );
      return Number(row!.count);
    };
    // Fails the tries under way, which makes room for the next ones.
    const before = slow.received.length;
    slow.dropConnections();
    await eventually('all but a few wait', async () => (await waiting()) > 300);
    expect(slow.received.length - before).toBeLessThanOrEqual(2);
    const [job] = await app.evidence.query<{ ready: string }>(
      `SELECT count(*) AS ready FROM pgboss.job WHERE group_id = $1 AND state <> 'active' AND start_after <= now()`,
      [slowId],
    );
    expect(Number(job!.ready)).toBeLessThan(50);
  });
});
