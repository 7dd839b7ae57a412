import { v7 as uuidv7 } from 'uuid';
import { eventually } from './eventually.js';
import { ClosingStore } from '../../src/ledger/closing.store.js';
import { Clock } from '../../src/time/clock.js';
import { SnapshotsStore } from '../../src/ledger/snapshots.store.js';
import { SnapshotWorker, type SnapshotLimits } from '../../src/ledger/snapshot.worker.js';
import { PipelinedTransactions } from '../../src/database/pipelined-transactions.js';

/** Takes a snapshot as soon as there is one new entry. */
export const AT_ONCE: SnapshotLimits = { minEntries: 1, maxEntries: 1_000 };

interface Connection {
  query(sql: string, values?: unknown[]): Promise<unknown>;
}

/** Books a transfer between a merchant's two accounts, as a capture does, but by its own SQL. */
export async function book(
  connection: Connection,
  merchantId: string,
  amount: number | bigint | string = 100,
  currency = 'EUR',
): Promise<string> {
  const ledgerTransactionId = uuidv7();
  await connection.query(
    `INSERT INTO ledger_entries
       (merchant_id, ledger_transaction_id, posting, transaction_id, account, currency, amount, created_at)
     VALUES ($1, $2, 1, $3, 'gateway_receivable', $4, $5, now()),
       ($1, $2, 2, $3, 'merchant_payable', $4, -$5::bigint, now())`,
    [merchantId, ledgerTransactionId, uuidv7(), currency, String(amount)],
  );
  return ledgerTransactionId;
}

/** The worker of another process, not started. */
export function snapshotWorker(transactions: PipelinedTransactions): SnapshotWorker {
  return new SnapshotWorker(
    transactions,
    new ClosingStore(transactions),
    new SnapshotsStore(transactions),
    new Clock(),
  );
}

/**
 * Waits until everything booked so far can be summed. Other test files use the same server, and their transactions
 * delay the closing for as long as they run.
 */
export async function untilBooksAreClosed(transactions: PipelinedTransactions): Promise<void> {
  const closing = new ClosingStore(transactions);
  await eventually('no older transaction runs', async () => {
    const closedBelow = await closing.close();
    const [row] = await transactions.read<{ closed: boolean }>({
      name: 'test.books_are_closed',
      text: 'SELECT coalesce(max(log_position) < $1, true) AS closed FROM ledger_entries',
      values: [closedBelow],
    });
    return row?.closed;
  });
}
