import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { Injectable } from '@nestjs/common';
import type { Pool, PoolClient, QueryResult, QueryResultRow } from 'pg';
import { DataSource } from 'typeorm';
import { SideLane } from './side-lane.js';

/** A named statement: the server parses it once per connection, and later groups only send its values. */
export interface Statement {
  name: string;
  text: string;
  values: unknown[];
}

/** Stores write through this. Statements are sent in the order they are issued, without waiting. */
export interface Transaction {
  /** Marks the rows that this try writes and that its later statements look for. A signed 64-bit integer. */
  readonly token: string;
  query<Row extends QueryResultRow>(statement: Statement): Promise<QueryResult<Row>>;
}

/**
 * The connection was lost after COMMIT was sent: the transaction may or may not have happened. The caller must read it
 * back before it answers or does anything else.
 */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
}

/** The server refused the transaction or never got it: certainly none of it happened. */
class TransactionFailedError extends Error {
  override readonly name = 'TransactionFailedError';
}

/**
 * SQL that is true for a row that this very try has written. Statements of a pipelined transaction cannot use each
 * other's results, so a later one acts on the rows in which an earlier one has left the token. A row that another try
 * wrote, or that was only locked, does not match.
 *
 * The token is drawn anew for each try: if a request is repeated after its COMMIT's answer was lost, the repeat must
 * not take the first try's rows for its own. PostgreSQL's `xmin` would need no column, but it has 32 bits, so that a
 * row that was frozen 2^32 transactions ago matches, and it means nothing on another node.
 * @param parameter the number of the statement's parameter that holds {@link Transaction.token}
 */
export function writtenBy(alias: string, parameter: number): string {
  return `${alias}.write_token = $${parameter}::bigint`;
}

interface TransactionOptions {
  /** How long the transaction waits for each lock. Without it, only the statement timeout ends a wait. */
  lockTimeoutMs?: number | undefined;
}

type Results<T extends readonly Promise<unknown>[]> = { -readonly [K in keyof T]: Awaited<T[K]> };

/**
 * Transactions in one round trip: BEGIN, the statements and COMMIT are sent together, and the answers are read
 * afterwards. The price is that a statement cannot use the result of an earlier one, so it finds by SQL what that one
 * did. A prototype was nearly twice as fast this way as with one round trip per statement.
 */
@Injectable()
export class PipelinedTransactions {
  /** Where transactions wait for rows that somebody else has locked, on a share of the pool's connections. */
  readonly sideLane: SideLane;

  constructor(private readonly dataSource: DataSource) {
    this.sideLane = new SideLane(dataSource.options.poolSize ?? 1);
  }

  /**
   * Runs all statements of `issue` in one transaction. `issue` must not await: its returned promises are awaited here.
   * @throws TransactionFailedError if nothing happened, CommitUnknownError if we cannot know
   */
  async run<const T extends readonly Promise<unknown>[]>(
    issue: (tx: Transaction) => T,
    { lockTimeoutMs }: TransactionOptions = {},
  ): Promise<Results<T>> {
    const client = await this.connect();
    const [began, committed, ...answers] = await Promise.allSettled(
      send(client, issue, begin(lockTimeoutMs)),
    );

    const lost = committed.status === 'rejected';
    client.release(lost);
    const failure = [began, ...answers].find(isRejected)?.reason as unknown;
    if (lost)
      throw new CommitUnknownError('the connection was lost during COMMIT', {
        cause: failure ?? committed.reason,
      });
    // COMMIT of an aborted transaction returns ROLLBACK instead of an error.
    if (committed.value.command !== 'COMMIT' || failure !== undefined) {
      throw new TransactionFailedError('the transaction was rolled back', { cause: failure });
    }
    return answers.map((answer) => (answer as PromiseFulfilledResult<unknown>).value) as Results<T>;
  }

  /**
   * The same for a transaction that is in no group. If it meets a locked row, it goes on in the side lane.
   * @param subject what it changes. Only one transaction at a time waits there for the same subject.
   */
  runBeside<const T extends readonly Promise<unknown>[]>(
    subject: string,
    issue: (tx: Transaction) => T,
  ): Promise<Results<T>> {
    return this.sideLane.run(subject, (lockTimeoutMs) => this.run(issue, { lockTimeoutMs }));
  }

  /** The same for one statement. For one that changes a row which others may have locked. */
  async writeBeside<Row extends QueryResultRow>(subject: string, statement: Statement): Promise<Row[]> {
    const [{ rows }] = await this.runBeside(subject, (tx) => [tx.query<Row>(statement)]);
    return rows;
  }

  /** Runs one statement outside any transaction. */
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
      // The pool removes its error listener from a client that is in use, and an error event without a listener ends
      // the process. The statement's caller gets the error anyway.
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

/** A token for one try of a transaction. */
export function newToken(): string {
  return randomBytes(8).readBigInt64BE().toString();
}

function isRejected(result: PromiseSettledResult<unknown>): result is PromiseRejectedResult {
  return result.status === 'rejected';
}

/** One message. `SET LOCAL` ends with the transaction, so a pooler in transaction mode hands no setting on. */
function begin(lockTimeoutMs: number | undefined): string {
  return lockTimeoutMs === undefined ? 'BEGIN' : `BEGIN; SET LOCAL lock_timeout = ${lockTimeoutMs}`;
}

/** Corks the socket until all is written. Otherwise the server would get BEGIN alone and wait for the rest. */
function send<T extends readonly Promise<unknown>[]>(
  client: PoolClient,
  issue: (tx: Transaction) => T,
  beginning: string,
): [Promise<QueryResult>, Promise<QueryResult>, ...T] {
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  stream.cork();
  try {
    const began = client.query(beginning);
    const results = issue({ token: newToken(), query: (statement) => client.query(statement) });
    return [began, client.query('COMMIT'), ...results];
  } catch (error) {
    // A client with an unfinished transaction must not go back into the pool.
    client.release(true);
    throw error;
  } finally {
    stream.uncork();
  }
}
