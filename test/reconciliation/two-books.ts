import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { FastifyInstance } from 'fastify';
import { reconcile, type Reconciled, type ReconcileOptions } from '../../src/cli/reconcile.js';
import { parseSandboxScript } from '../../src/config/sandbox-script.js';
import { SandboxBooks } from '../../src/gateways/sandbox/sandbox-books.js';
import { SandboxEngine } from '../../src/gateways/sandbox/sandbox-engine.js';
import { createSandboxGatewayServer } from '../../src/gateways/sandbox/sandbox-gateway.server.js';
import { Evidence } from '../support/evidence.js';
import { createTemporaryFolder, createTestDatabase } from '../support/postgres.js';
import { CRASHING_SERVICE, ServiceProcess } from '../support/service-process.js';
import { WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

/** Everything that a comparison or a repair could change, and when it was last written. */
const OUR_TABLES = ['payments', 'refunds', 'idempotency_keys', 'ledger_entries', 'events'];

/** A service, the sandbox gateway behind HTTP, and the hands of somebody who tampers with either's books. */
export class TwoBooks {
  private constructor(
    readonly service: ServiceProcess,
    readonly engine: SandboxEngine,
    readonly evidence: Evidence,
    /** What the command is configured with, by HTTP as the service is. */
    readonly env: Readonly<Record<string, string>>,
    private readonly theirs: DatabaseSync,
    private readonly cleanUp: () => Promise<void>,
  ) {}

  /** @param env of the service. It resolves nothing by itself, unless `program` is another one. */
  static async open(
    env: Readonly<Record<string, string>> = WITHOUT_RECOVERY_WORKER,
    program = CRASHING_SERVICE,
  ): Promise<TwoBooks> {
    const database = await createTestDatabase();
    const folder = await createTemporaryFolder();
    const path = join(folder.path, 'sandbox-gateway', 'books.sqlite');
    const engine = new SandboxEngine(new SandboxBooks(path));
    const server: FastifyInstance = createSandboxGatewayServer(engine);
    const url = await server.listen({ port: 0, host: '127.0.0.1' });
    const settings = { SANDBOX_GATEWAY_URL: url, GATEWAY_TIMEOUT: '500ms', IDEMPOTENCY_LEASE: '5s' };
    const service = await ServiceProcess.start({
      databaseUrl: database.url,
      dataDir: folder.path,
      env: { ...settings, ...env },
      program,
    });
    const evidence = new Evidence(database.url, folder.path);
    const theirs = new DatabaseSync(path, { timeout: 2_000 });
    return new TwoBooks(
      service,
      engine,
      evidence,
      { DATABASE_URL: database.url, DATA_DIR: folder.path, SANDBOX: 'true', ...settings },
      theirs,
      async () => {
        await service.kill();
        await server.close();
        theirs.close();
        await engine.close();
        await evidence.close();
        await database.drop();
        await folder.remove();
      },
    );
  }

  close(): Promise<void> {
    return this.cleanUp();
  }

  /** The command's work, in this process. */
  reconcile(changes: Partial<ReconcileOptions> = {}, env = this.env): Promise<Reconciled> {
    const all = { from: null, to: null, merchantId: null };
    return reconcile(env, { ...all, openAfterMs: 60_000, shown: 100, repair: false, ...changes });
  }

  /** Lets the gateway act on the next call of a kind, and never answer it. */
  hideNext(call: 'charge' | 'capture' | 'void' | 'refund'): void {
    this.engine.play(parseSandboxScript({ calls: [call], next: 1, faults: { silence_after: 1 } }));
  }

  /** Changes the gateway's books behind its back. */
  tamper(sql: string, ...values: (string | number)[]): void {
    this.theirs.prepare(sql).run(...values);
  }

  /** Both books, whole: equal before and after if nothing was changed, not even a version of a row. */
  async snapshot(): Promise<unknown> {
    const ours = await Promise.all(
      OUR_TABLES.map((table) =>
        this.evidence.query(`SELECT xmin::text, t.* FROM ${table} t ORDER BY t::text`),
      ),
    );
    return { ours, theirs: this.theirs.prepare('SELECT * FROM calls ORDER BY sequence').all() };
  }
}

/** What was found, in a word each. */
export function found({ report }: Reconciled): string[] {
  return [
    ...report.missingHere.data.map(({ kind, reason }) => `missing here: ${kind} ${reason}`),
    ...report.missingThere.data.map(({ kind }) => `missing there: ${kind}`),
    ...report.amountDiffers.data.map(
      ({ kind, amount_here, amount_there }) => `differs: ${kind} ${amount_here} ${amount_there}`,
    ),
    ...report.open.data.map(
      ({ kind, is_there, overdue }) => `open: ${kind}${is_there ? ' there' : ''}${overdue ? ' overdue' : ''}`,
    ),
  ].toSorted();
}
