import { appendFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { KeptPostgres } from './kept-postgres.js';
import { freePorts, HOST, KeptProcess, type Kept } from './kept-process.js';
import type { Target } from './plan.js';

const SERVICE = fileURLToPath(new URL('../src/main.js', import.meta.url));
const GATEWAY = fileURLToPath(new URL('../src/cli/sandbox-gateway.js', import.meta.url));

/**
 * Leases of a few seconds, so that the work of a dead process is taken over within the run. Two tries at the gateway,
 * so that a call that is lost once is sent again under its key before the client hears that its outcome is unknown.
 */
const TIME_LIMITS = {
  IDEMPOTENCY_LEASE: '3s',
  GATEWAY_TIMEOUT: '1500ms',
  GATEWAY_TRIES: '2',
  GATEWAY_TRY_TIMEOUT: '900ms',
} as const;

/** All processes of a run. Each is real, and they share a folder of their own. */
export class World {
  private constructor(
    readonly folder: string,
    readonly postgres: KeptPostgres,
    readonly gateway: KeptProcess,
    readonly services: readonly [KeptProcess, KeptProcess],
    readonly servicePorts: readonly [number, number],
  ) {}

  /**
   * @param scriptOf the script that the gateway plays after its nth start
   * @param earlier the program of an earlier version, which runs as the second service; null for this version's
   */
  static async start(scriptOf: (start: number) => object, earlier: string | null): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'hapax-chaos-'));
    // PostgreSQL does not run as root, and its user must be able to enter the folder.
    await chmod(folder, 0o755);
    await mkdir(join(folder, 'gateway'));
    const [postgresPort, gatewayPort, firstPort, secondPort] = (await freePorts(4)) as [
      number,
      number,
      number,
      number,
    ];
    const ports = [firstPort, secondPort] as const;
    const postgres = await KeptPostgres.start(join(folder, 'postgres'), postgresPort);
    const gateway = new KeptProcess({
      name: 'gateway',
      program: GATEWAY,
      port: gatewayPort,
      readyPath: '/health',
      logFile: join(folder, 'gateway.log'),
      env: (start) => ({
        DATA_DIR: join(folder, 'gateway'),
        SANDBOX_GATEWAY_PORT: String(gatewayPort),
        SANDBOX_GATEWAY_SCRIPT: JSON.stringify(scriptOf(start)),
        // It notifies one service, and after its next start the other.
        SANDBOX_GATEWAY_NOTIFY_URL: `http://${HOST}:${ports[start % 2]}/v1/gateways/sandbox/notifications`,
        LOG_LEVEL: 'warn',
      }),
    });
    const service = (n: 0 | 1): KeptProcess =>
      new KeptProcess({
        name: `service-${n + 1}`,
        program: n === 1 && earlier !== null ? earlier : SERVICE,
        port: ports[n],
        readyPath: '/health/live',
        logFile: join(folder, `service-${n + 1}.log`),
        env: () => ({
          DATABASE_URL: postgres.url,
          DATA_DIR: join(folder, `service-${n + 1}`),
          SANDBOX: 'true',
          SANDBOX_GATEWAY_URL: gateway.url,
          PORT: String(ports[n]),
          LOG_LEVEL: 'info',
          ...TIME_LIMITS,
        }),
      });
    const world = new World(folder, postgres, gateway, [service(0), service(1)], ports);
    try {
      await Promise.all([gateway, ...world.services].map((each) => each.start()));
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  target(name: Target): Kept {
    switch (name) {
      case 'service-1':
        return this.services[0];
      case 'service-2':
        return this.services[1];
      case 'gateway':
        return this.gateway;
      case 'postgres':
        return this.postgres;
    }
  }

  /** Logs when something was done, to be read beside the processes' own logs. */
  log(line: string): void {
    appendFileSync(join(this.folder, 'course.log'), `${new Date().toISOString()} ${line}\n`);
  }

  /** Processes that ended by themselves. */
  get failures(): string[] {
    return [this.gateway, ...this.services].flatMap(({ failures }) => failures);
  }

  /** The environment for our commands: the same settings as the services have. */
  get env(): Record<string, string> {
    return {
      DATABASE_URL: this.postgres.url,
      DATA_DIR: join(this.folder, 'command'),
      SANDBOX: 'true',
      SANDBOX_GATEWAY_URL: this.gateway.url,
      ...TIME_LIMITS,
    };
  }

  /** Restarts everything but PostgreSQL, so that answers come from the database and not from memory. */
  async restart(): Promise<void> {
    await this.gateway.restart();
    await Promise.all(this.services.map((service) => service.restart()));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.services, this.gateway].map((each) => each.stop()));
    await this.postgres.stop();
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
