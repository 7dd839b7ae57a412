import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  Inject,
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationShutdown,
} from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { CONFIG, type Config, type SandboxGatewayConfig } from '../../config/config.js';
import { SandboxBooks } from './sandbox-books.js';
import { SandboxEngine } from './sandbox-engine.js';
import { createSandboxGatewayServer, SANDBOX_GATEWAY_HOST } from './sandbox-gateway.server.js';
import { SandboxNotifier } from './sandbox-notifier.js';

/** Runs the sandbox provider in the service's process, unless it has its own or another gateway moves the money. */
@Injectable()
export class SandboxGatewayHost implements BeforeApplicationShutdown, OnApplicationShutdown {
  /** Null if it does not run here. */
  readonly engine: SandboxEngine | null;
  private readonly logger = new Logger(SandboxGatewayHost.name);
  private server: FastifyInstance | null = null;

  constructor(@Inject(CONFIG) private readonly config: Config) {
    const runsHere = config.gateway === 'sandbox' && config.sandboxGateway.url === null;
    this.engine = runsHere ? openSandboxEngine(config.dataDir, config.sandboxGateway, true) : null;
  }

  /**
   * Serves the provider's books by HTTP and starts to notify. A port that is taken does not stop charges, which never
   * go through it.
   * @param service the service's `server.address()`. Notifications go there, unless the configuration says otherwise.
   * @returns where it listens, or null.
   */
  async listen(service: AddressInfo | string | null): Promise<string | null> {
    if (this.engine === null) return null;
    this.engine.start(notificationsAt(service));
    const { port } = this.config.sandboxGateway;
    const server = createSandboxGatewayServer(this.engine);
    try {
      const address = await server.listen({ port, host: SANDBOX_GATEWAY_HOST });
      this.server = server;
      return address;
    } catch (error) {
      await server.close();
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      this.logger.warn(
        `cannot serve the sandbox gateway on port ${port} (${code}): charges work all the same, but its books are not ` +
          `served by this process. Set SANDBOX_GATEWAY_PORT to another port, or SANDBOX_GATEWAY_URL to the gateway ` +
          'that listens there',
      );
      return null;
    }
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.server?.close();
  }

  /** In the last hook, because others may ask the gateway until then. */
  async onApplicationShutdown(): Promise<void> {
    await this.engine?.close();
  }
}

/** On this machine: a service that listens on every address is reached at localhost. */
function notificationsAt(service: AddressInfo | string | null): string | null {
  if (typeof service === 'string' || service === null) return null;
  const { address, port } = service;
  const host = address === '0.0.0.0' || address === '::' ? 'localhost' : address;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}/v1/gateways/sandbox/notifications`;
}

/**
 * The provider with its books in a data folder.
 * @param notifiesService whether `start` may set the address of notifications, if none is configured.
 */
export function openSandboxEngine(
  dataDir: string,
  settings: SandboxGatewayConfig,
  notifiesService = false,
): SandboxEngine {
  const books = new SandboxBooks(sandboxBooksPath(dataDir));
  const { notifyUrl, webhookSecret, script } = settings;
  const notifier =
    webhookSecret === null || (notifyUrl === null && !notifiesService)
      ? null
      : new SandboxNotifier(books, { url: notifyUrl, secret: webhookSecret });
  return new SandboxEngine(books, notifier, script);
}

/** Where the provider keeps its books in a data folder. */
export function sandboxBooksPath(dataDir: string): string {
  return join(dataDir, 'sandbox-gateway', 'books.sqlite');
}
