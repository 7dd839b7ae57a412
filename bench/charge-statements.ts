import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import { pino } from 'pino';
import { closeApp, createApp } from '../src/app.js';
import { loadConfig } from '../src/config/load-config.js';
import { PipelinedTransactions, type Transaction } from '../src/database/pipelined-transactions.js';
import { API_KEY, CHARGE_BODY, CHARGE_PATH } from './charge-request.js';

/** One statement as it was sent. Parameters are in text form; null is NULL. */
interface RecordedStatement {
  text: string;
  parameters: (string | null)[];
}

/** The statements of one transaction, without its BEGIN and COMMIT. */
export type RecordedTransaction = RecordedStatement[];

/** A charge reserves in one transaction and settles in another. */
const TRANSACTIONS_PER_CHARGE = 2;

/** The driver's own text form of a value, arrays included. */
const { prepareValue } = createRequire(import.meta.url)('pg/lib/utils') as {
  prepareValue: (value: unknown) => string | null;
};

/**
 * The transactions of one real charge under `idempotencyKey`, as the service sends them today. They are recorded rather
 * than copied, so that the reference can never run other SQL than the service does.
 * @throws when the charge did not take {@link TRANSACTIONS_PER_CHARGE} transactions
 */
export async function recordCharge(
  databaseUrl: string,
  dataDir: string,
  idempotencyKey: string,
): Promise<RecordedTransaction[]> {
  const config = loadConfig({
    DATABASE_URL: databaseUrl,
    DATA_DIR: dataDir,
    SANDBOX: 'true',
    LOG_LEVEL: 'silent',
  });
  const app = await createApp(config, databaseUrl, pino({ level: 'silent' }));
  try {
    await app.init();
    await app.getHttpAdapter().getInstance().ready();
    const recorded = await recordDuring(app.get(PipelinedTransactions), async () => {
      const { statusCode, body } = await app.inject({
        method: 'POST',
        url: CHARGE_PATH,
        headers: {
          authorization: `Bearer ${API_KEY}`,
          'idempotency-key': idempotencyKey,
          'content-type': 'application/json',
        },
        payload: CHARGE_BODY,
      });
      if (statusCode !== 201)
        throw new Error(`the charge to record was answered with ${statusCode}: ${body}`);
    });
    if (recorded.length !== TRANSACTIONS_PER_CHARGE)
      throw new Error(`the charge took ${recorded.length} transactions: ${JSON.stringify(recorded)}`);
    return recorded;
  } finally {
    await closeApp(app);
  }
}

/**
 * What `work` itself sends. Workers that run meanwhile, such as the event relay, send transactions of their own: only
 * those in the asynchronous context of `work` are recorded.
 */
async function recordDuring(
  transactions: PipelinedTransactions,
  work: () => Promise<void>,
): Promise<RecordedTransaction[]> {
  const recorded: RecordedTransaction[] = [];
  const ofWork = new AsyncLocalStorage<true>();
  const run = transactions.run.bind(transactions);
  transactions.run = (issue) => {
    if (ofWork.getStore() === undefined) return run(issue);
    const statements: RecordedTransaction = [];
    recorded.push(statements);
    return run((tx) =>
      issue({
        token: tx.token,
        query: (statement) => {
          statements.push({ text: statement.text, parameters: statement.values.map(prepareValue) });
          return tx.query(statement);
        },
      } satisfies Transaction),
    );
  };
  await ofWork.run(true, work);
  return recorded;
}
