import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import { jetstream, jetstreamManager, type JetStreamClient, type JetStreamManager } from '@nats-io/jetstream';
import { connect, nanos, type NatsConnection } from '@nats-io/transport-node';
import type { NatsConfig } from '../config/config.js';
import type { EventSink } from '../events/event-sink.js';
import type { OutboxEvent } from '../events/event.js';
import { eventJson } from '../events/event-wire.js';
import { natsOptions } from './nats-options.js';

/** Injection token: the sink, or null when `EVENTS_NATS_URL` is not set. */
export const NATS_EVENT_SINK = Symbol('NatsEventSink');

const STREAM = 'HAPAX';
const ALL_SUBJECTS = 'hapax.>';
/** How long JetStream may take to confirm that it stored an event. */
const PUBLISH_TIMEOUT_MS = 5_000;
/** How long a stream that we create remembers ids: far longer than the lease of a lost relay. */
const DUPLICATE_WINDOW_MS = 10 * 60_000;

interface Open {
  connection: NatsConnection;
  client: JetStreamClient;
}

/**
 * Publishes events to NATS JetStream with the event's id as `Nats-Msg-Id`, so that the stream stores an event once even
 * if it is published again within the stream's window. A batch holds at most one event per payment, so all its events
 * can go at once.
 *
 * The client's reconnecting is off. It would buffer what it could not send, and send it after the relay had counted the
 * event as refused and moved on. Instead the next try opens a new connection.
 */
export class NatsEventSink implements EventSink, OnApplicationShutdown {
  readonly name = 'nats';
  private readonly logger = new Logger(NatsEventSink.name);
  private opened: Promise<Open> | null = null;

  constructor(private readonly config: NatsConfig) {}

  async handOn(events: readonly OutboxEvent[]): Promise<void> {
    const { client } = await this.open();
    const published = await Promise.allSettled(
      events.map((event) =>
        client.publish(subjectOf(event), eventJson(event), {
          msgID: event.eventId,
          timeout: PUBLISH_TIMEOUT_MS,
        }),
      ),
    );
    const failure = published.find((result) => result.status === 'rejected');
    if (failure === undefined) return;
    // The stream may have been deleted; opening again recreates it.
    await this.close();
    throw failure.reason;
  }

  onApplicationShutdown(): Promise<void> {
    return this.close();
  }

  private async open(): Promise<Open> {
    const opening = (this.opened ??= this.connect());
    try {
      return await opening;
    } catch (error) {
      if (this.opened === opening) this.opened = null;
      throw error;
    }
  }

  private async connect(): Promise<Open> {
    const connection = await connect({ ...natsOptions(this.config, 'hapax-events'), reconnect: false });
    try {
      await ensureStream(await jetstreamManager(connection));
    } catch (error) {
      await connection.close();
      throw error;
    }
    const opened = { connection, client: jetstream(connection) };
    void this.forgetWhenClosed(connection);
    this.logger.log(`publishes events to NATS at ${connection.getServer()}`);
    return opened;
  }

  private async forgetWhenClosed(connection: NatsConnection): Promise<void> {
    const error = await connection.closed();
    const opened = await this.opened?.catch(() => null);
    if (opened?.connection === connection) this.opened = null;
    if (error instanceof Error) this.logger.warn(`lost the connection to NATS: ${error.message}`);
  }

  private async close(): Promise<void> {
    const opened = await this.opened?.catch(() => null);
    this.opened = null;
    await opened?.connection.close();
  }
}

/** Creates a stream unless one takes our subjects already: name, replicas, limits and age are the operator's choice. */
async function ensureStream({ streams }: JetStreamManager): Promise<void> {
  const { value: existing } = await streams.names(ALL_SUBJECTS)[Symbol.asyncIterator]().next();
  if (existing !== undefined) return;
  await streams.add({
    name: STREAM,
    subjects: [ALL_SUBJECTS],
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
  });
}

function subjectOf({ merchantId, type }: OutboxEvent): string {
  return `hapax.${merchantId}.${type}`;
}
