import { Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerNats } from '@nestjs/microservices';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { NatsConfig } from '../config/config.js';
import { askInTime } from '../time/deadline.js';
import { CommandDeserializer, CommandSerializer } from './command-codec.js';
import { natsOptions } from './nats-options.js';

/** All processes subscribe in this group, so that each command goes to one of them. */
const QUEUE = 'hapax';
const RETRY_MS = 1_000;
/** How long a stopping service waits for a broker that may be gone. */
const STOP_LIMIT_MS = 1_000;

/**
 * Nest's NATS transport with two differences: it keeps trying to connect instead of failing the start, and it answers
 * the commands that it has begun before it closes.
 */
export class CommandServer extends ServerNats {
  private readonly log = new Logger(CommandServer.name);
  private readonly stopping = new AbortController();
  private connection: NatsConnection | undefined;

  constructor(private readonly config: NatsConfig) {
    super({ queue: QUEUE, serializer: new CommandSerializer(), deserializer: new CommandDeserializer() });
  }

  /** @throws only when it is closed before it connects. */
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

  /** Stops taking commands. Those already taken run on and are answered. */
  async stopTaking(): Promise<void> {
    this.stopping.abort();
    const { connection } = this;
    if (connection === undefined || connection.isClosed()) return;
    await askInTime(() => Promise.all(this.takenFrom().map((subscription) => subscription.drain())), {
      limitMs: STOP_LIMIT_MS,
    });
  }

  override async close(): Promise<void> {
    this.stopping.abort();
    // The last answers may still be in the send buffer.
    await askInTime(async () => this.connection?.flush(), { limitMs: STOP_LIMIT_MS });
    await super.close();
  }

  get isStopping(): boolean {
    return this.stopping.signal.aborted;
  }

  private takenFrom(): { drain(): Promise<void> }[] {
    return (this as unknown as { subscriptions: { drain(): Promise<void> }[] }).subscriptions;
  }
}
