import { createRequire } from 'node:module';
import { pino } from 'pino';
import { closeApp, createApp } from '../src/app.js';
import { loadConfig } from '../src/config/load-config.js';
import { PipelinedTransactions, type Transaction } from '../src/database/pipelined-transactions.js';
import { API_KEY, CHARGE_BODY, CHARGE_PATH } from './charge-request.js';

/** One statement as it left for the server; a parameter is its text form, null is NULL. */
export interface RecordedStatement {
  text: string;
  parameters: (string | null)[];
}

/** The statements of one transaction, without its BEGIN and COMMIT. */
export type RecordedTransaction = RecordedStatement[];

/** The driver's own text form of a value, arrays included. */
const { prepareValue } = createRequire(import.meta.url)('pg/lib/utils') as {
  prepareValue: (value: unknown) => string | null;
};

/**
 * The transactions of one real charge under `idempotencyKey`, as the service sends them today: recorded rather than
 * copied, so that the reference can never run other SQL than the service does.
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
    const recorded = record(app.get(PipelinedTransactions));
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
    if (statusCode !== 201) throw new Error(`the charge to record was answered with ${statusCode}: ${body}`);
    return recorded;
  } finally {
    await closeApp(app);
  }
}

function record(transactions: PipelinedTransactions): RecordedTransaction[] {
  const recorded: RecordedTransaction[] = [];
  const run = transactions.run.bind(transactions);
  transactions.run = (issue) => {
    const statements: RecordedTransaction = [];
    recorded.push(statements);
    return run((tx) =>
      issue({
        query: (statement) => {
          statements.push({ text: statement.text, parameters: statement.values.map(prepareValue) });
          return tx.query(statement);
        },
      } satisfies Transaction),
    );
  };
  return recorded;
}
