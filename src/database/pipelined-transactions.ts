import type { Socket } from 'node:net';
import { Injectable } from '@nestjs/common';
import type { Pool, PoolClient, QueryResult, QueryResultRow } from 'pg';
import { DataSource } from 'typeorm';

/** A named statement: the server parses it once a connection, and later groups only send its values. */
export interface Statement {
  name: string;
  text: string;
  values: unknown[];
}

/** What a store writes through: statements leave in the order in which they are issued, without waiting. */
export interface Transaction {
  query<Row extends QueryResultRow>(statement: Statement): Promise<QueryResult<Row>>;
}

/**
 * The connection was lost after COMMIT had been sent: the transaction may have happened or not. Whoever gets this
 * must read back before it says or does anything else.
 */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
}

/** The server refused the transaction or never got it: surely nothing of it happened. */
class TransactionFailedError extends Error {
  override readonly name = 'TransactionFailedError';
}

type Results<T extends readonly Promise<unknown>[]> = { -readonly [K in keyof T]: Awaited<T[K]> };

/**
 * Transactions that take one round trip: BEGIN, the statements and COMMIT leave together, and the answers are read
 * afterwards. The price is that a statement cannot use an earlier one's result, so it finds what that one did by SQL.
 * The gain, measured in `docs/performance.md`, is nearly a factor of two over one round trip a statement.
 */
@Injectable()
export class PipelinedTransactions {
  constructor(private readonly dataSource: DataSource) {}

  /**
   * Issues all statements of `issue` inside one transaction. `issue` must not await: what it returns is awaited here.
   * @throws TransactionFailedError when nothing happened, CommitUnknownError when that cannot be told.
   */
  async run<const T extends readonly Promise<unknown>[]>(issue: (tx: Transaction) => T): Promise<Results<T>> {
    const client = await this.connect();
    const [began, committed, ...answers] = await Promise.allSettled(send(client, issue));

    const lost = committed.status === 'rejected';
    client.release(lost);
    const failure = [began, ...answers].find(isRejected)?.reason as unknown;
    if (lost)
      throw new CommitUnknownError('the connection was lost during COMMIT', {
        cause: failure ?? committed.reason,
      });
    // COMMIT of an aborted transaction answers ROLLBACK, and no error.
    if (committed.value.command !== 'COMMIT' || failure !== undefined) {
      throw new TransactionFailedError('the transaction was rolled back', { cause: failure });
    }
    return answers.map((answer) => (answer as PromiseFulfilledResult<unknown>).value) as Results<T>;
  }

  /** One statement outside any transaction. */
  async read<Row extends QueryResultRow>(statement: Statement): Promise<Row[]> {
    const client = await this.connect();
    let broken = true;
    try {
      const { rows } = await client.query<Row>(statement);
      broken = false;
      return rows;
    } finally {
      client.release(broken);
    }
  }

  private async connect(): Promise<PoolClient> {
    try {
      const client = await this.pool.connect();
      // A client that is taken has no listener of the pool's, and an error event without one ends the process. What
      // failed is told to whoever waits for a statement.
      if (client.listenerCount('error') === 0) client.on('error', () => undefined);
      return client;
    } catch (error) {
      throw new TransactionFailedError('no database connection could be had', { cause: error });
    }
  }

  /** TypeORM's own pool, so that `databasePoolSize` bounds all connections of the process. */
  private get pool(): Pool {
    return (this.dataSource.driver as unknown as { master: Pool }).master;
  }
}

function isRejected(result: PromiseSettledResult<unknown>): result is PromiseRejectedResult {
  return result.status === 'rejected';
}

/** Held back until all of it is there, or the server would begin with BEGIN alone and wait for the rest. */
function send<T extends readonly Promise<unknown>[]>(
  client: PoolClient,
  issue: (tx: Transaction) => T,
): [Promise<QueryResult>, Promise<QueryResult>, ...T] {
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  stream.cork();
  try {
    const begin = client.query('BEGIN');
    const results = issue({ query: (statement) => client.query(statement) });
    return [begin, client.query('COMMIT'), ...results];
  } catch (error) {
    // A transaction that was begun and never ended must not go back into the pool.
    client.release(true);
    throw error;
  } finally {
    stream.uncork();
  }
}
