import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { FastifyInstance } from 'fastify';
import { reconcile, type Reconciled, type ReconcileOptions } from '../../src/cli/reconcile.js';
import { parseSandboxScript } from '../../src/config/sandbox-script.js';
import { SandboxBooks } from '../../src/gateways/sandbox/sandbox-books.js';
import { SandboxEngine } from '../../src/gateways/sandbox/sandbox-engine.js';
import { createSandboxGatewayServer } from '../../src/gateways/sandbox/sandbox-gateway.server.js';
import { post } from '../support/api.js';
import { chargeBody, type Reply } from '../support/client.js';
import { Evidence } from '../support/evidence.js';
import { createTemporaryFolder, createTestDatabase } from '../support/postgres.js';
import { CRASHING_SERVICE, ServiceProcess } from '../support/service-process.js';
import { WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

/** Charges that the gateway never answers, after and before it takes the money, and one that it declines. */
export const AFTER = chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' });
export const BEFORE = chargeBody({ payment_method: 'pm_gateway_timeout_before_charge' });
export const DECLINED = chargeBody({ payment_method: 'pm_card_declined' });

/** The tables that a comparison or a repair could change. */
const OUR_TABLES = ['payments', 'refunds', 'idempotency_keys', 'ledger_entries', 'events'];

/** A service and the sandbox gateway behind HTTP, with ways to tamper with the books of both. */
export class TwoBooks {
  private constructor(
    readonly service: ServiceProcess,
    readonly engine: SandboxEngine,
    readonly evidence: Evidence,
    /** The command's configuration: it reads the gateway over HTTP, as the service does. */
    readonly env: Readonly<Record<string, string>>,
    private readonly theirs: DatabaseSync,
    private readonly cleanUp: () => Promise<void>,
  ) {}

  /**
   * @param env configures the service. By default the service resolves nothing by itself; `program` may change that.
   */
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

  /** Runs the command in this process. */
  reconcile(changes: Partial<ReconcileOptions> = {}, env = this.env): Promise<Reconciled> {
    const all = { from: null, to: null, merchantId: null };
    return reconcile(env, { ...all, openAfterMs: 60_000, shown: 100, repair: false, ...changes });
  }

  capture(id: string, amount?: number): Promise<Reply> {
    const body = amount === undefined ? {} : { amount };
    return post(this.service, `/v1/payments/${id}/capture`, { body });
  }

  cancel(id: string): Promise<Reply> {
    return post(this.service, `/v1/payments/${id}/cancel`);
  }

  refund(id: string, amount: number): Promise<Reply> {
    return post(this.service, `/v1/payments/${id}/refunds`, { body: { amount } });
  }

  /** Makes the gateway act on the next call of a kind and never answer it. */
  hideNext(call: 'charge' | 'capture' | 'void' | 'refund'): void {
    this.engine.play(parseSandboxScript({ calls: [call], next: 1, faults: { silence_after: 1 } }));
  }

  /** Changes what the gateway's books have of a payment. */
  async tamper(change: string, transactionId: string, kind?: 'capture' | 'refund'): Promise<void> {
    const [payment] = await this.evidence.query<{ claim_id: string; gateway_reference: string | null }>(
      'SELECT claim_id, gateway_reference FROM payments WHERE transaction_id = $1',
      [transactionId],
    );
    const { claim_id = '', gateway_reference = '' } = payment ?? {};
    const { changes } = this.theirs
      .prepare(`${change} WHERE (idempotency_key = ? OR charge_reference = ?) AND kind = coalesce(?, kind)`)
      .run(claim_id, gateway_reference, kind ?? null);
    if (Number(changes) === 0) throw new Error(`the gateway has nothing of ${transactionId}`);
  }

  /** Both books in full. Equal before and after if nothing changed, not even the version of a row. */
  async snapshot(): Promise<unknown> {
    const ours = await Promise.all(
      OUR_TABLES.map((table) =>
        this.evidence.query(`SELECT xmin::text, t.* FROM ${table} t ORDER BY t::text`),
      ),
    );
    return { ours, theirs: this.theirs.prepare('SELECT * FROM calls ORDER BY sequence').all() };
  }
}

/** Each finding in a few words. */
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
