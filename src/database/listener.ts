import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { Backoff } from '../time/backoff.js';

/** The channels on which the database's triggers announce changes. */
type Channel = 'hapax_api_keys';

const CONNECT_TIMEOUT_MS = 2_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 10_000;

/**
 * Hears from other processes by LISTEN and NOTIFY, on one connection outside the pool. It only makes things faster:
 * without a connection, or behind a pooler in transaction mode, it hears nothing. So each user must also limit for
 * itself how old its knowledge may get.
 */
@Injectable()
export class Listener implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Listener.name);
  private readonly callbacks = new Map<Channel, (() => void)[]>();
  private client: Client | null = null;
  private retry: NodeJS.Timeout | undefined;
  private readonly backoff = new Backoff({ firstMs: FIRST_RETRY_MS, longestMs: LONGEST_RETRY_MS });
  private stopped = false;

  constructor(private readonly dataSource: DataSource) {}

  /**
   * Call it before the application's bootstrap. `callback` also runs after every new connection, because an
   * announcement may have been missed in between.
   */
  on(channel: Channel, callback: () => void): void {
    this.callbacks.set(channel, [...(this.callbacks.get(channel) ?? []), callback]);
  }

  /** Whether a connection listens right now. */
  get listening(): boolean {
    return this.client !== null;
  }

  /** Not awaited: the service does all its work without a listener. */
  onApplicationBootstrap(): void {
    void this.connect();
  }

  async onModuleDestroy(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.retry);
    if (this.client !== null) await end(this.client);
  }

  private async connect(): Promise<void> {
    const client = this.newClient();
    let lost = false;
    const lose = (error?: Error): void => {
      if (lost) return;
      lost = true;
      this.client = null;
      // This also ends a connection attempt that has outlived its time limit.
      void end(client);
      this.connectLater(error);
    };
    client.on('error', lose);
    client.on('end', () => lose());
    client.on('notification', ({ channel }) => this.tell(channel));
    try {
      await client.connect();
      for (const channel of this.callbacks.keys()) await client.query(`LISTEN ${channel}`);
    } catch (error) {
      lose(error instanceof Error ? error : undefined);
      return;
    }
    if (this.stopped) return lose();
    this.client = client;
    this.backoff.reset();
    for (const channel of this.callbacks.keys()) this.tell(channel);
  }

  private connectLater(error?: Error): void {
    if (this.stopped) return;
    const retryMs = this.backoff.nextMs();
    this.logger.warn(
      `no connection for notifications, next try in ${retryMs} ms: ${error?.message ?? 'it was closed'}`,
    );
    this.retry = setTimeout(() => void this.connect(), retryMs);
  }

  private tell(channel: string): void {
    for (const callback of this.callbacks.get(channel as Channel) ?? []) callback();
  }

  private newClient(): Client {
    const { options } = this.dataSource;
    if (options.type !== 'postgres' || options.url === undefined) throw new Error('no URL to listen at');
    return new Client({
      connectionString: options.url,
      application_name: 'hapax-listener',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      // Firewalls forget a connection that is silent for hours.
      keepAlive: true,
    });
  }
}

/** An error while ending changes nothing: the connection is gone either way. */
async function end(client: Client): Promise<void> {
  await client.end().catch(() => undefined);
}
