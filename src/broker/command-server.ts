import { Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerNats } from '@nestjs/microservices';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { NatsConfig } from '../config/config.js';
import { CommandDeserializer, CommandSerializer } from './command-codec.js';
import { natsOptions } from './nats-options.js';

/** Of all processes together, each command goes to one. */
const QUEUE = 'hapax';
const RETRY_MS = 1_000;
/** A broker that has gone away is not waited for when the service stops. */
const STOP_LIMIT_MS = 1_000;

/**
 * Nest's own NATS transport, which connects for as long as it takes and does not fail a start, and which answers what it
 * has begun before it closes.
 */
export class CommandServer extends ServerNats {
  private readonly log = new Logger(CommandServer.name);
  private readonly stopping = new AbortController();
  private connection: NatsConnection | undefined;

  constructor(private readonly config: NatsConfig) {
    super({ queue: QUEUE, serializer: new CommandSerializer(), deserializer: new CommandDeserializer() });
  }

  /** @throws only when it is closed first. */
  override async createNatsClient(): Promise<NatsConnection> {
    const options = { ...natsOptions(this.config, 'hapax-commands'), maxReconnectAttempts: -1 };
    for (let tries = 1; ; tries += 1) {
      try {
        this.connection = await connect(options);
        break;
      } catch (error) {
        if (tries === 1) this.log.warn(`cannot reach NATS for commands, will try on: ${String(error)}`);
        await sleep(RETRY_MS, undefined, { signal: this.stopping.signal });
      }
    }
    if (this.stopping.signal.aborted) {
      await this.connection.close();
      throw new Error('it was closed before it was connected');
    }
    this.log.log(`takes commands from NATS at ${this.connection.getServer()}`);
    return this.connection;
  }

  /** Takes no more commands; those that were taken go on and are answered. */
  async stopTaking(): Promise<void> {
    this.stopping.abort();
    const { connection } = this;
    if (connection === undefined || connection.isClosed()) return;
    await atMost(STOP_LIMIT_MS, Promise.all(this.takenFrom().map((subscription) => subscription.drain())));
  }

  override async close(): Promise<void> {
    this.stopping.abort();
    // What was answered a moment ago is still to be sent.
    await atMost(STOP_LIMIT_MS, this.connection?.flush());
    await super.close();
  }

  get isStopping(): boolean {
    return this.stopping.signal.aborted;
  }

  private takenFrom(): { drain(): Promise<void> }[] {
    return (this as unknown as { subscriptions: { drain(): Promise<void> }[] }).subscriptions;
  }
}

/** Waits until it is done, has failed, or has taken too long. */
async function atMost(limitMs: number, doing: Promise<unknown> | undefined): Promise<void> {
  const limit = new AbortController();
  const late = sleep(limitMs, undefined, { signal: limit.signal }).catch(() => undefined);
  await Promise.race([doing?.catch(() => undefined), late]);
  limit.abort();
}
