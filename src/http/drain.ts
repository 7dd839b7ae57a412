import type { Server } from 'node:http';
import { Server as NetServer, type Socket } from 'node:net';
import { setTimeout as sleep, setImmediate as afterReading } from 'node:timers/promises';
import { answerUnderWay } from './client-errors.js';

/**
 * How long a connection may be silent before we close it while we stop. A client that is sending does not know yet that
 * we stop, so this must be longer than a request is on its way.
 */
const SILENCE_MS = 1_000;
const LOOK_MS = 50;

/** What a connection has carried by now, and since when no more. */
interface Activity {
  bytes: number;
  sinceMs: number;
}

/**
 * Stops an HTTP server without resetting a connection that carries a request. Node's own `close()` destroys every idle
 * connection at once, and with it a request that was not read yet or is still on its way.
 */
export class Drain {
  private readonly connections = new Set<Socket>();

  /** @param server one that does not listen yet */
  constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      this.connections.add(socket);
      socket.once('close', () => this.connections.delete(socket));
    });
  }

  /**
   * Accepts no more connections, and resolves when the last one is gone. Each is closed once it owes no answer and has
   * been silent for {@link SILENCE_MS}. Requests that arrive before are carried out.
   */
  async run(): Promise<void> {
    // This only stops listening. The HTTP server's own method would destroy the idle connections.
    NetServer.prototype.close.call(this.server);
    const activities = new Map<Socket, Activity>();
    while (this.connections.size > 0) {
      await sleep(LOOK_MS);
      // The event loop has just read all that has arrived, so no connection that we close now has an unread request.
      await afterReading();
      this.closeSilent(activities);
    }
  }

  private closeSilent(activities: Map<Socket, Activity>): void {
    const nowMs = performance.now();
    for (const socket of this.connections) {
      const bytes = socket.bytesRead + socket.bytesWritten;
      const last = activities.get(socket);
      if (bytes !== last?.bytes || answerUnderWay(socket) !== null) {
        activities.set(socket, { bytes, sinceMs: nowMs });
      } else if (nowMs - last.sinceMs >= SILENCE_MS) {
        socket.destroy();
      }
    }
  }
}
