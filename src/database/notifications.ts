import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Client } from 'pg';
import { DataSource } from 'typeorm';

/** What the database's triggers tell of; the channels' names are theirs. */
type NotificationChannel = 'hapax_api_keys';

const CONNECT_TIMEOUT_MS = 2_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 10_000;

/**
 * Word from other processes, by LISTEN and NOTIFY, on one connection outside the pool. It only makes things faster:
 * while there is no connection nothing is heard, and behind a pooler that hands connections out by the transaction
 * nothing ever is. So whoever listens needs a limit of its own to how old its knowledge may get.
 */
@Injectable()
export class Notifications implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Notifications.name);
  private readonly listeners = new Map<NotificationChannel, (() => void)[]>();
  private client: Client | null = null;
  private retry: NodeJS.Timeout | undefined;
  private retryMs = FIRST_RETRY_MS;
  private stopped = false;

  constructor(private readonly dataSource: DataSource) {}

  /**
   * Before the application's bootstrap. `listener` is also called after every new connection, since nobody knows what
   * was told in between.
   */
  on(channel: NotificationChannel, listener: () => void): void {
    this.listeners.set(channel, [...(this.listeners.get(channel) ?? []), listener]);
  }

  /** Whether a connection listens right now. */
  get listening(): boolean {
    return this.client !== null;
  }

  /** Nobody waits for it: the service does all its work without. */
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
      // Also ends a connection attempt that has outlived its own time limit.
      void end(client);
      this.connectLater(error);
    };
    client.on('error', lose);
    client.on('end', () => lose());
    client.on('notification', ({ channel }) => this.tell(channel));
    try {
      await client.connect();
      for (const channel of this.listeners.keys()) await client.query(`LISTEN ${channel}`);
    } catch (error) {
      lose(error instanceof Error ? error : undefined);
      return;
    }
    if (this.stopped) return lose();
    this.client = client;
    this.retryMs = FIRST_RETRY_MS;
    for (const channel of this.listeners.keys()) this.tell(channel);
  }

  private connectLater(error?: Error): void {
    if (this.stopped) return;
    this.logger.warn(
      `no connection for notifications, next try in ${this.retryMs} ms: ${error?.message ?? 'it was closed'}`,
    );
    this.retry = setTimeout(() => void this.connect(), this.retryMs);
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
  }

  private tell(channel: string): void {
    for (const listener of this.listeners.get(channel as NotificationChannel) ?? []) listener();
  }

  private newClient(): Client {
    const { options } = this.dataSource;
    if (options.type !== 'postgres' || options.url === undefined) throw new Error('no URL to listen at');
    return new Client({
      connectionString: options.url,
      application_name: 'hapax-notifications',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      // A connection that says nothing for hours is what firewalls forget.
      keepAlive: true,
    });
  }
}

/** However a connection ends, it has ended. */
async function end(client: Client): Promise<void> {
  await client.end().catch(() => undefined);
}
