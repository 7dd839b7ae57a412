import { Logger } from '@nestjs/common';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { NatsEventSink } from '../../src/broker/nats-event.sink.js';
import { loadConfig } from '../../src/config/load-config.js';
import { EventOutboxStore } from '../../src/events/event-outbox.store.js';
import { charge, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { describeWithNats, NatsServer } from '../support/nats-server.js';
import { drain, endLeases, relayTo, waiting, writeEvents } from '../support/outbox.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE } from '../support/service-process.js';
import { STRIKE_RELAY } from '../support/strike-points.js';
import { TestApp } from '../support/test-app.js';
import { WritePath } from '../support/write-path.js';

interface Stored {
  subject: string;
  msgId: string | undefined;
  event: { event_id: string; type: string; transaction_id: string; sequence: number; data: object };
}

describeWithNats('events on NATS JetStream', () => {
  let nats: NatsServer;
  let watcher: NatsConnection;

  beforeAll(async () => {
    Logger.overrideLogger(false);
    nats = await NatsServer.start();
    watcher = await nats.connect();
  });
  afterAll(async () => {
    await watcher.close();
    await nats.remove();
  });

  /** All messages of the stream, in order. */
  async function stored(connection = watcher): Promise<Stored[]> {
    const { streams } = await jetstreamManager(connection);
    const { state } = await streams.info('HAPAX');
    const messages: Stored[] = [];
    for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq += 1) {
      const message = await streams.getMessage('HAPAX', { seq });
      if (message === null) continue;
      messages.push({
        subject: message.subject,
        msgId: message.header.get('Nats-Msg-Id'),
        event: message.json<Stored['event']>(),
      });
    }
    return messages;
  }

  async function emptyStream(): Promise<void> {
    const { streams } = await jetstreamManager(watcher);
    await streams.delete('HAPAX').catch(() => undefined);
  }

  describe('published by the relay', () => {
    let db: WritePath;
    let sink: NatsEventSink;

    beforeAll(async () => {
      db = await WritePath.open();
    });
    beforeEach(async () => {
      await emptyStream();
      sink = new NatsEventSink(loadConfig({ EVENTS_NATS_URL: nats.url }).eventsNats!);
    });
    afterEach(() => sink.onApplicationShutdown());
    afterAll(() => db.close());

    it('create the stream if it is missing, carry their id, and arrive in order', async () => {
      const payments = await writeEvents(db, sink.name, 20, 3);
      await drain(relayTo(db, sink));
      const messages = await stored();
      expect(messages).toHaveLength(60);
      for (const { subject, msgId, event } of messages) {
        expect(subject).toBe('hapax.00000000-0000-7000-8000-00000000000a.payment.completed');
        expect(msgId).toBe(event.event_id);
        expect(event.data).toEqual({ n: 1 });
      }
      for (const id of payments) {
        const sequences = messages.flatMap(({ event }) =>
          event.transaction_id === id ? [event.sequence] : [],
        );
        expect(sequences).toEqual([1, 2, 3]);
      }
      expect(await waiting(db, sink.name)).toBe(0);
    });

    it('are stored once each, even if the relay died before it recorded what it had published', async () => {
      await writeEvents(db, sink.name, 30, 2);
      const doomed = new EventOutboxStore(db.transactions);
      doomed.forget = () => Promise.reject(new Error('killed'));
      await expect(relayTo(db, sink, doomed).runOnce()).rejects.toThrow('killed');
      expect(await stored()).toHaveLength(30);
      await endLeases(db);
      await drain(relayTo(db, sink));
      const ids = (await stored()).map(({ event }) => event.event_id);
      expect(ids).toHaveLength(60);
      expect(new Set(ids).size).toBe(60);
    });

    it('leave the stream as its operator made it, whatever its name', async () => {
      const { streams } = await jetstreamManager(watcher);
      await streams.add({ name: 'SHOP', subjects: ['hapax.>', 'shop.>'], max_msgs: 5 });
      await writeEvents(db, sink.name, 8, 1);
      await drain(relayTo(db, sink));
      expect((await streams.info('SHOP')).state.messages).toBe(5);
      expect(await waiting(db, sink.name)).toBe(0);
      await streams.delete('SHOP');
      // The stream is lost with its events. The next event must create a new one.
      await writeEvents(db, sink.name, 1, 1);
      const relay = relayTo(db, sink);
      await eventually('the stream is created again', async () => {
        await endLeases(db);
        return (await relay.runOnce()).handedOn === 1;
      });
      expect(await stored()).toHaveLength(1);
    });
  });

  it('wait while the broker is down, which fails no charge and no start, and arrive once it is up', async () => {
    const late = await NatsServer.prepare();
    const service = await TestApp.start({ EVENTS_NATS_URL: late.url });
    try {
      const replies = await Promise.all(Array.from({ length: 10 }, () => service.post()));
      expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 201));
      const ready = await service.get('/health/ready');
      expect(ready.body).toMatchObject({
        status: 'ok',
        waiting_events: expect.arrayContaining([expect.objectContaining({ sink: 'nats', count: 10 })]),
      });

      await late.start();
      expect(await typesOnceAll(service, late)).toEqual(
        Array.from({ length: 10 }, () => 'payment.completed'),
      );

      // The same with a connection that is lost.
      await late.stop();
      const key = newKey();
      const declined = chargeBody({ payment_method: 'pm_card_declined' });
      for (let time = 0; time < 3; time += 1) {
        expect((await service.post(declined, { key })).status).toBe(402);
      }
      await late.start();
      expect((await typesOnceAll(service, late)).slice(10)).toEqual(['payment.failed']);
      const metrics = (await service.get('/metrics')).text;
      expect(metrics).toMatch(/hapax_events_handed_on_total\{sink="nats"\} 11\n/);
      expect(metrics).toMatch(/hapax_events_waiting\{sink="nats"\} 0\n/);
    } finally {
      await service.stop();
      await late.remove();
    }
  });

  it('are published again by another process when the first was killed before it recorded them, and stored once', async () => {
    await emptyStream();
    const fleet = await ServiceFleet.create({ EVENTS_NATS_URL: nats.url });
    try {
      const doomed = await fleet.start({ program: CRASHING_SERVICE, env: STRIKE_RELAY });
      await charge(doomed, newKey()).catch(() => undefined);
      expect(await doomed.ended()).toBe('SIGKILL');
      const published = await stored();
      expect(published.map(({ event }) => event.type)).toEqual(['payment.completed']);

      const other = await fleet.start();
      await charge(other, newKey());
      await fleet.evidence.query(
        'UPDATE event_outbox SET lease_until = clock_timestamp() WHERE lease_id IS NOT NULL',
      );
      await eventually('all are handed on', async () => {
        return (await fleet.evidence.query('SELECT FROM event_outbox')).length === 0;
      });
      const events = await fleet.evidence.query<{ id: string }>('SELECT event_id AS id FROM events');
      expect((await stored()).map(({ event }) => event.event_id).toSorted()).toEqual(
        events.map(({ id }) => id).toSorted(),
      );
      expect(events).toHaveLength(2);
    } finally {
      await fleet.end();
    }
  });

  it('arrive soon after each payment', async () => {
    const service = await TestApp.start({ EVENTS_NATS_URL: nats.url });
    try {
      const subscription = watcher.subscribe('hapax.*.payment.completed');
      await watcher.flush();
      const begin = performance.now();
      for (let count = 1; count <= 12; count += 1) {
        await service.post();
        await eventually('it has arrived', () => subscription.getReceived() >= count);
      }
      // With polling alone, each would wait for the next poll, half a second after the one before.
      expect(performance.now() - begin).toBeLessThan(5_000);
      subscription.unsubscribe();
    } finally {
      await service.stop();
    }
  });

  async function typesOnceAll(service: TestApp, server: NatsServer): Promise<string[]> {
    await eventually('all events are handed on', async () => {
      const rows = await service.evidence.query('SELECT FROM event_outbox');
      return rows.length === 0;
    });
    const connection = await server.connect();
    const messages = await stored(connection);
    await connection.close();
    return messages.map(({ event }) => event.type);
  }
});
