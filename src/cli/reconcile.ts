import { setTimeout as sleep } from 'node:timers/promises';
import { closeApp, createApp } from '../app.js';
import type { Config } from '../config/config.js';
import type { Environment } from '../config/environment-reader.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import type { GatewayBooks } from '../gateways/gateway-books.js';
import { openGatewayBooks } from '../gateways/open-gateway-books.js';
import { createLogger } from '../http/logger.js';
import { ClaimsStore } from '../idempotency/claims.store.js';
import { MAX_RESUMED, OperationResumer } from '../idempotency/operation.resumer.js';
import type { ScopedKey } from '../idempotency/scoped-key.js';
import { EffectStage } from '../reconciliation/effect-stage.js';
import { OurBooksStore, type OpenClaim } from '../reconciliation/our-books.store.js';
import { Reconciliation, type Compared, type Scope } from '../reconciliation/reconciliation.js';
import { repairableClaims, Report, type ReportLimits } from '../reconciliation/report.js';
import { withDatabase, type CliDatabase } from './cli-database.js';

/** The gateway may withhold its answer to the first try. The next try then inquires what became of the call. */
const MAX_TRIES = 5;
/** The pause between tries, in case a running service took the claim first and still works on it. */
const RETRY_MS = 500;

export interface ReconcileOptions extends Scope, ReportLimits {
  repair: boolean;
}

export interface Reconciled {
  gateway: string;
  compared: Compared;
  report: Report;
  /** How many claims were ended; null without `--repair`. */
  repaired: number | null;
}

/** Compares our books with the gateway's, repairs what is safe if asked to, and then reports what is left. */
export async function reconcile(env: Environment, options: ReconcileOptions): Promise<Reconciled> {
  return withDatabase(env, async (database) => {
    const books = openGatewayBooks(database.config);
    const repair = new Repair(database);
    try {
      let { compared, report } = await compare(database, books, options, options.repair ? repair : null);
      if (repair.tried > 0) ({ compared, report } = await compare(database, books, options, null));
      return {
        gateway: books.name,
        compared,
        report,
        repaired: options.repair ? repair.done : null,
      };
    } finally {
      books.close();
      await repair.close();
    }
  });
}

async function compare(
  { dataSource }: CliDatabase,
  books: GatewayBooks,
  options: ReconcileOptions,
  repair: Repair | null,
): Promise<{ compared: Compared; report: Report }> {
  const report = new Report(options);
  const stage = new EffectStage();
  try {
    const ours = new OurBooksStore(new PipelinedTransactions(dataSource));
    const reconciliation = new Reconciliation(ours, books, stage, async (findings) => {
      report.add(findings, new Date());
      await repair?.carryOut(repairableClaims(findings));
    });
    return { compared: await reconciliation.run(options), report };
  } finally {
    stage.close();
  }
}

/**
 * Ends claims the way the service does: it takes each over under a lease of its own and runs the same recovery. So it
 * needs no running service, and it is safe beside one, because that finds these claims taken. It creates the service's
 * app but never starts it: nothing listens, and no other claim is touched.
 */
class Repair {
  tried = 0;
  done = 0;
  private app: Awaited<ReturnType<typeof createApp>> | null = null;

  constructor(private readonly database: CliDatabase) {}

  async carryOut(claims: readonly OpenClaim[]): Promise<void> {
    for (let start = 0; start < claims.length; start += MAX_RESUMED) {
      await this.carryOutBatch(claims.slice(start, start + MAX_RESUMED));
    }
  }

  async close(): Promise<void> {
    if (this.app !== null) await closeApp(this.app);
  }

  private async carryOutBatch(claims: readonly OpenClaim[]): Promise<void> {
    this.app ??= await createSilentApp(this.database);
    this.tried += claims.length;
    let left: readonly ScopedKey[] = claims;
    for (let tries = 1; ; tries += 1) {
      await this.app.get(OperationResumer).resumeNow(left);
      const states = await this.app.get(ClaimsStore).find(left);
      left = states.filter(({ status }) => status === 'in_progress');
      if (left.length === 0 || tries === MAX_TRIES) break;
      await sleep(RETRY_MS);
    }
    this.done += claims.length - left.length;
  }
}

/** Silent, because its log would go to standard output, like the report. */
function createSilentApp({ config, url }: CliDatabase): ReturnType<typeof createApp> {
  const silent: Config = { ...config, logLevel: 'silent' };
  return createApp(silent, url, createLogger(silent));
}
