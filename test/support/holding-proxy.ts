import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';

/** Bytes of a client whose connection is gone, which the server has not received yet. */
export interface HeldBytes {
  readonly bytes: Buffer;
  /** Sends them to the server on the connection that they were meant for, and waits until it has answered something. */
  deliver(): Promise<void>;
}

interface Trap {
  markers: readonly string[];
  caught: PromiseWithResolvers<HeldBytes>;
}

/**
 * A TCP proxy that can do what a failing network does: it resets the client's side of a connection, keeps the server's
 * side open, and delivers the client's last bytes later.
 */
export class HoldingProxy {
  private readonly traps: Trap[] = [];
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    private readonly target: { host: string; port: number },
  ) {
    server.on('connection', (client) => this.relay(client));
  }

  /** Starts in front of the server of this URL. */
  static async start(serverUrl: string): Promise<HoldingProxy> {
    const { hostname, port } = new URL(serverUrl);
    const server = createServer();
    const proxy = new HoldingProxy(server, { host: hostname, port: Number(port) });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  /** The same URL by way of the proxy. */
  through(serverUrl: string): string {
    const url = new URL(serverUrl);
    url.hostname = '127.0.0.1';
    url.port = String((this.server.address() as AddressInfo).port);
    return url.href;
  }

  /** Holds the next bytes of any client in which all of these words appear. */
  holdNext(...markers: string[]): Promise<HeldBytes> {
    const caught = Promise.withResolvers<HeldBytes>();
    this.traps.push({ markers, caught });
    return caught.promise;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private relay(client: Socket): void {
    const server = connect(this.target);
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
    }
    let isHeld = false;
    client.on('data', (bytes) => {
      const trap = this.traps.find(({ markers }) => markers.every((marker) => bytes.includes(marker)));
      if (trap === undefined) {
        server.write(bytes);
        return;
      }
      isHeld = true;
      this.traps.splice(this.traps.indexOf(trap), 1);
      client.resetAndDestroy();
      trap.caught.resolve({
        bytes,
        deliver: async () => {
          server.write(bytes);
          await once(server, 'data');
        },
      });
    });
    server.on('data', (bytes) => {
      if (!isHeld) client.write(bytes);
    });
    client.on('close', () => {
      if (!isHeld) server.destroy();
    });
    server.on('close', () => client.destroy());
  }
}
