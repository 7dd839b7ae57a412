import { Evidence } from './evidence.js';
import { createTemporaryFolder, createTestDatabase } from './postgres.js';
import { ServiceProcess, type ServiceOptions } from './service-process.js';

/** Any number of service processes on one database and one gateway. */
export class ServiceFleet {
  private readonly services: ServiceProcess[] = [];

  private constructor(
    readonly databaseUrl: string,
    private readonly dataDir: string,
    private readonly env: Readonly<Record<string, string>>,
    readonly evidence: Evidence,
    private readonly cleanUp: () => Promise<void>,
  ) {}

  /** @param env the configuration of all its services */
  static async create(env: Readonly<Record<string, string>> = {}): Promise<ServiceFleet> {
    const database = await createTestDatabase();
    const folder = await createTemporaryFolder();
    return new ServiceFleet(
      database.url,
      folder.path,
      env,
      new Evidence(database.url, folder.path),
      async () => {
        await database.drop();
        await folder.remove();
      },
    );
  }

  async start(options: Partial<Pick<ServiceOptions, 'env' | 'program'>> = {}): Promise<ServiceProcess> {
    const service = await ServiceProcess.start({
      databaseUrl: this.databaseUrl,
      dataDir: this.dataDir,
      ...options,
      env: { ...this.env, ...options.env },
    });
    this.services.push(service);
    return service;
  }

  /** Kills what still runs. Other tests cover how a service stops. */
  async end(): Promise<void> {
    await Promise.all(this.services.map((service) => service.kill()));
    await this.evidence.close();
    await this.cleanUp();
  }
}
