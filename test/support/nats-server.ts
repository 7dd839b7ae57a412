import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { eventually } from './eventually.js';

/** Debian installs it where only an administrator's PATH looks. */
const PROGRAMS = ['nats-server', '/usr/sbin/nats-server', '/usr/local/bin/nats-server'];

const program = PROGRAMS.find((candidate) => spawnSync(candidate, ['--version']).status === 0);

/**
 * `describe` for tests that need a real nats-server. Without one they are skipped, and say so. If `REQUIRE_NATS` is
 * set, as in CI, they fail instead.
 */
export const describeWithNats: typeof describe = program === undefined ? unavailable() : describe;

function unavailable(): typeof describe {
  if (process.env['REQUIRE_NATS'] === '1') {
    throw new Error('REQUIRE_NATS is set, and there is no nats-server: apt-get install nats-server');
  }
  process.stderr.write('Skipped, because there is no nats-server here (apt-get install nats-server).\n');
  return describe.skip;
}

/** A nats-server with JetStream on its own port. Its streams survive a stop, until they are removed. */
export class NatsServer {
  private child: ChildProcess | undefined;

  private constructor(
    private readonly port: number,
    private readonly folder: string,
  ) {}

  /** Picks a free port; does not start the server. */
  static async prepare(): Promise<NatsServer> {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    return new NatsServer(port, await mkdtemp(join(tmpdir(), 'hapax-nats-')));
  }

  static async start(): Promise<NatsServer> {
    const server = await NatsServer.prepare();
    await server.start();
    return server;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const options = ['-a', '127.0.0.1', '-p', String(this.port), '-js', '-sd', this.folder];
    this.child = spawn(program ?? 'nats-server', options, { stdio: 'ignore' });
    await eventually('nats-server answers', async () => {
      const connection = await this.connect().catch(() => null);
      await connection?.close();
      return connection !== null;
    });
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  connect(): Promise<NatsConnection> {
    return connect({ servers: [`127.0.0.1:${this.port}`], timeout: 1_000 });
  }
}
