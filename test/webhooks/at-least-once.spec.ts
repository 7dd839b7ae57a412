import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { WebhooksSink } from '../../src/webhooks/delivery/webhooks.sink.js';
import { post } from '../support/api.js';
import { Evidence } from '../support/evidence.js';
import { eventually } from '../support/eventually.js';
import { createTemporaryFolder, createTestDatabase } from '../support/postgres.js';
import { newSeed, seededRandom } from '../support/seeded-random.js';
import { ServiceProcess } from '../support/service-process.js';
import { TestApp } from '../support/test-app.js';
import { createEndpoint, emit, newEvents, OK, Receiver, status, writeEvents } from '../support/webhooks.js';

const TYPES = ['payment.completed', 'payment.authorized', 'payment.failed', 'payment.canceled'] as const;
const PAYMENTS = 500;

describe('webhooks arrive at least once', () => {
  it('when the worker is killed between delivering and recording: the same ids come again, and none is missing', async () => {
    const database = await createTestDatabase();
    const folder = await createTemporaryFolder();
    const evidence = new Evidence(database.url, folder.path);
    const start = () =>
      ServiceProcess.start({
        databaseUrl: database.url,
        dataDir: folder.path,
        env: { WEBHOOK_TIMEOUT: '2s', WEBHOOK_RETRY_PAUSES: '50ms,50ms,50ms' },
      });
    const events = newEvents(40, { payments: 5 });
    const [early, late] = [events.slice(0, 10), events.slice(10)];
    let service = await start();
    const receiver = await Receiver.start();
    const endpoint = (await post(service, '/v1/webhook-endpoints', { body: { url: receiver.url() } })).json;
    const sendAll = () =>
      post(service, `/v1/webhook-endpoints/${String(endpoint['webhook_endpoint_id'])}/resend`, {
        key: null,
        body: { created_gte: '2026-01-01T00:00:00Z', only_undelivered: true },
      });
    const delivered = async () =>
      (await evidence.query(`SELECT FROM webhook_deliveries WHERE status = 'delivered'`)).length;
    await writeEvents(evidence, early);
    await sendAll();
    await eventually('the early ones', async () => (await delivered()) === early.length);

    let killed: string | undefined;
    // The event has arrived, but its sender dies before it gets the answer.
    receiver.answer = (response, received) => {
      if (killed === undefined && receiver.received.length === early.length + 15) {
        killed = received.id;
        service.signal('SIGKILL');
      }
      if (killed === undefined) OK(response, received);
      else response.destroy();
    };
    await writeEvents(evidence, late);
    expect((await sendAll()).json).toEqual({ scheduled: late.length, next_cursor: null });
    await service.ended();
    const before = receiver.received.splice(0);

    receiver.answer = OK;
    // A lost worker's jobs come back when their time runs out. Make that happen now.
    await evidence.query(
      `UPDATE pgboss.job SET started_on = started_on - interval '1 hour' WHERE state = 'active'`,
    );
    service = await start();
    await eventually('every event', async () => (await delivered()) === events.length);
    const after = receiver.received.map(({ id }) => id);
    expect(after).toContain(killed);
    const secret = String(endpoint['secret']);
    for (const { body, headers } of [...before, ...receiver.received]) {
      new Webhook(secret).verify(body, headers as Record<string, string>);
    }
    expect(new Set([...before.map(({ id }) => id), ...after])).toEqual(
      new Set(events.map(({ eventId }) => eventId)),
    );
    // Not everything comes twice: recorded deliveries stay recorded.
    for (const { eventId } of early) expect(after).not.toContain(eventId);
    await service.stop();
    await receiver.stop();
    await evidence.close();
    await database.drop();
    await folder.remove();
  });

  it('and once each when the relay hands the same events on several times', async () => {
    const app = await TestApp.start();
    const receiver = await Receiver.start();
    await createEndpoint(app, { url: receiver.url() });
    const events = newEvents(50, { payments: 5 });
    await writeEvents(app.evidence, events);
    const sink = app.app.get(WebhooksSink);
    await Promise.all([
      sink.handOn(events),
      sink.handOn([...events, ...events]),
      sink.handOn(events.slice(10)),
    ]);
    await eventually('the deliveries', async () => {
      const rows = await app.evidence.query(`SELECT FROM webhook_deliveries WHERE status = 'delivered'`);
      return rows.length === events.length;
    });
    expect(receiver.received.map(({ id }) => id).toSorted()).toEqual(
      events.map(({ eventId }) => eventId).toSorted(),
    );
    await app.stop();
    await receiver.stop();
  });

  it('when a receiver fails at random: 10 000 events, with no gap in the sequence of any payment', async () => {
    const seed = newSeed('WEBHOOKS_SEED');
    const random = seededRandom(seed);
    const app = await TestApp.start({ WEBHOOK_RETRY_PAUSES: Array<string>(20).fill('200ms').join(',') });
    const failures = [status(500), status(404), status(302, { location: '/' })];
    const receiver = await Receiver.start((response, received) => {
      const luck = random();
      if (luck < 0.85) OK(response, received);
      else if (luck < 0.97) failures[Math.floor(luck * 1_000) % failures.length]!(response, received);
      else response.destroy();
    });
    for (const type of TYPES) await createEndpoint(app, { url: receiver.url(), event_types: [type] });
    const events = newEvents(10_000, { payments: PAYMENTS }).map((event) => ({
      ...event,
      type: TYPES[event.sequence % TYPES.length]!,
    }));
    for (let begin = 0; begin < events.length; begin += 500)
      await emit(app, events.slice(begin, begin + 500));
    const open = () => app.evidence.query(`SELECT FROM webhook_deliveries WHERE status <> 'delivered'`);
    const giveUpAtMs = Date.now() + 100_000;
    while ((await open()).length > 0 && Date.now() < giveUpAtMs) await sleep(200);
    expect({ seed, open: (await open()).length }).toEqual({ seed, open: 0 });
    const sequences = new Map<string, Set<number>>();
    for (const { body } of receiver.received) {
      const { data } = JSON.parse(body) as { data: { transaction_id: string; sequence: number } };
      const seen = sequences.get(data.transaction_id) ?? new Set();
      sequences.set(data.transaction_id, seen.add(data.sequence));
    }
    expect(sequences.size).toBe(PAYMENTS);
    const whole = Array.from({ length: 10_000 / PAYMENTS }, (_, index) => index + 1);
    for (const seen of sequences.values()) expect([...seen].toSorted((a, b) => a - b)).toEqual(whole);
    // More requests than events: the receiver did fail sometimes.
    expect(receiver.received.length).toBeGreaterThan(10_500);
    await app.stop();
    await receiver.stop();
  }, 120_000);
});
