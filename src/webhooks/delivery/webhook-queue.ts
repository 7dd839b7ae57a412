import { Inject, Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { Pool, type PoolClient, type QueryResultRow } from 'pg';
import type { PgBoss } from 'pg-boss';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../../config/config.js';
import {
  CommitUnknownError,
  newToken,
  type Statement,
  type Transaction,
} from '../../database/pipelined-transactions.js';
import { Worker } from '../../time/worker.js';
import type { DeliveryJob } from './webhook-deliveries.store.js';

const QUEUE_SCHEMA = 'pgboss';
const QUEUE = 'webhooks';

/** One to fetch jobs, one to record tries, one to take in new events. Charges have a pool of their own. */
const POOL_SIZE = 3;
const CONNECT_TIMEOUT_MS = 2_000;
const IDLE_CONNECTION_TIMEOUT_MS = 30_000;
/** Long enough for the library's maintenance, which scans all jobs from time to time. */
const STATEMENT_TIMEOUT_MS = 30_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;

/** A worker has this long to record a try after the try's time limit. Then another worker takes the job. */
const RECORDING_TIME_MS = 5_000;
const MAX_SUPERVISE_INTERVAL_MS = 15_000;
/** A job fails only when its worker is lost or puts it back. After a failed try, the next one has a new job. */
const LOST_WORKERS_LIMIT = 10_000;
/** The library deletes a job that waited this long unfetched. None of our schedules comes near. */
const RETENTION_SECONDS = 90 * 24 * 3_600;
const BACKLOG_WARNING = 1_000_000;
/** How often the library looks after features that we do not use. */
const RARELY_SECONDS = 3_600;

/** A job that this process has taken. */
export interface TakenJob extends DeliveryJob {
  /**
   * How often the job was taken before. A worker that is believed dead has an older number, so it cannot end a job that
   * another has taken since.
   */
  retryCount: number;
}

/** A job for later. The jobs of one group, which is an endpoint, share a limit. */
export interface NewJob extends DeliveryJob {
  group: string;
  delayMs: number;
}

/** A transaction on the queue's own connections. It changes jobs and our rows together. */
interface QueueTransaction extends Transaction {
  add(jobs: readonly NewJob[]): Promise<void>;
  /** Deletes jobs that this process took. It leaves alone those that another worker has taken since. */
  remove(jobs: readonly TakenJob[]): Promise<void>;
}

/**
 * The queue of tries: pg-boss, in its own schema, on a few connections of its own. It opens on first use, so a service
 * without endpoints has no queue. Any number of processes may open it.
 */
@Injectable()
export class WebhookQueue implements OnApplicationShutdown {
  private readonly logger = new Logger(WebhookQueue.name);
  private readonly supervision: Worker;
  private opening: Promise<{ pool: Pool; boss: PgBoss }> | undefined;
  private closed = false;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly dataSource: DataSource,
  ) {
    this.supervision = Worker.every(WebhookQueue.name, this.superviseIntervalMs, () => this.supervise());
  }

  async onApplicationShutdown(): Promise<void> {
    this.closed = true;
    await this.supervision.stop();
    const opened = await this.opening?.catch(() => undefined);
    await opened?.boss.stop({ graceful: false });
    await opened?.pool.end();
  }

  /** Takes jobs that are due, at most `perGroup` of one group at a time across all processes. */
  async take(limit: number, perGroup: number): Promise<TakenJob[]> {
    const { boss } = await this.open();
    const jobs = await boss.fetch<Omit<DeliveryJob, 'jobId'>>(QUEUE, {
      batchSize: limit,
      groupConcurrency: perGroup,
    });
    return jobs.map(({ id, retryCount, data }) => ({ ...data, jobId: id, retryCount }));
  }

  /** Puts back jobs that this process took but will not finish, so that others can take them. */
  async putBack(jobs: readonly TakenJob[]): Promise<void> {
    if (jobs.length === 0) return;
    const { boss } = await this.open();
    await boss.fail(QUEUE, jobs.map(idAndRetryCount));
  }

  /** One statement outside any transaction. */
  async read<Row extends QueryResultRow>({ text, values }: Statement): Promise<Row[]> {
    const { pool } = await this.open();
    return (await pool.query<Row>(text, values)).rows;
  }

  /**
   * Statements that `work` issues without waiting in between go out together.
   * @throws CommitUnknownError when the transaction may or may not have committed.
   */
  async transaction<T>(work: (tx: QueueTransaction) => Promise<T>): Promise<T> {
    const { pool, boss } = await this.open();
    const client = await pool.connect();
    // The pool listens to idle clients only, and an error event without a listener ends the process.
    client.on('error', ignore);
    let broken: Error | undefined;
    try {
      const began = client.query('BEGIN');
      // BEGIN goes out together with the first statements of `work`, and fails only if they fail too.
      began.catch(ignore);
      const result = await work(transactionOn(client, boss));
      await began;
      await commit(client);
      return result;
    } catch (error) {
      broken = await rollBack(client, error);
      throw error;
    } finally {
      client.off('error', ignore);
      client.release(broken);
    }
  }

  /** Makes the jobs of lost workers due again. One process at a time does this for all. */
  async supervise(): Promise<void> {
    const { boss } = await this.open();
    await boss.supervise(QUEUE);
  }

  private get superviseIntervalMs(): number {
    return Math.min(Math.max(this.config.webhooks.tryTimeoutMs, 1_000), MAX_SUPERVISE_INTERVAL_MS);
  }

  private open(): Promise<{ pool: Pool; boss: PgBoss }> {
    if (this.closed) return Promise.reject(new Error('the queue is closed'));
    this.opening ??= this.start().catch((error: unknown) => {
      this.opening = undefined;
      throw error;
    });
    return this.opening;
  }

  private async start(): Promise<{ pool: Pool; boss: PgBoss }> {
    // Loading it takes a fifth of a second, which a service without endpoints saves.
    const { PgBoss } = await import('pg-boss');
    const pool = this.newPool();
    const boss = new PgBoss({
      db: { executeSql: (text, values) => pool.query(text, values) },
      schema: QUEUE_SCHEMA,
      // Lost jobs are all that needs supervision, and our own timer triggers it.
      supervise: false,
      monitorIntervalSeconds: Math.floor(this.superviseIntervalMs / 1_000),
      schedule: false,
      registerInstance: false,
      openTelemetry: { enabled: false },
      queueCacheIntervalSeconds: RARELY_SECONDS,
      bamIntervalSeconds: RARELY_SECONDS,
    });
    boss.on('error', (error) => this.logger.warn(error.message));
    boss.on('warning', ({ message }) => this.logger.warn(message));
    const options = {
      expireInSeconds: Math.ceil((this.config.webhooks.tryTimeoutMs + RECORDING_TIME_MS) / 1_000),
      retryLimit: LOST_WORKERS_LIMIT,
      retryDelay: 0,
      retentionSeconds: RETENTION_SECONDS,
      warningQueueSize: BACKLOG_WARNING,
    };
    try {
      await boss.start();
      await boss.createQueue(QUEUE, options);
      // `createQueue` leaves an existing queue as it is, perhaps with another time limit.
      await boss.updateQueue(QUEUE, options);
    } catch (error) {
      await boss.stop({ graceful: false });
      await pool.end();
      throw error;
    }
    if (!this.closed) this.supervision.start();
    return { pool, boss };
  }

  /** Without the planner settings of the service's own pool, because the library owns these tables. */
  private newPool(): Pool {
    const { options } = this.dataSource;
    if (options.type !== 'postgres' || options.url === undefined) throw new Error('no URL of the database');
    const pool = new Pool({
      connectionString: options.url,
      application_name: 'hapax-webhooks',
      max: POOL_SIZE,
      pipeline: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      idleTimeoutMillis: IDLE_CONNECTION_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    });
    pool.on('error', (error) => this.logger.warn(error.message));
    return pool;
  }
}

function ignore(): void {}

function transactionOn(client: PoolClient, boss: PgBoss): QueueTransaction {
  // Unnamed, so that PostgreSQL plans for what the tables hold now: they grow from nothing to millions of rows.
  const query = <Row extends QueryResultRow>({ text, values }: Statement) => client.query<Row>(text, values);
  const db = { executeSql: (text: string, values?: unknown[]) => client.query(text, values) };
  return {
    token: newToken(),
    query,
    async add(jobs) {
      if (jobs.length === 0) return;
      await boss.insert(
        QUEUE,
        jobs.map(({ jobId, merchantId, webhookDeliveryId, group, delayMs }) => ({
          id: jobId,
          data: { merchantId, webhookDeliveryId },
          startAfter: Math.ceil(delayMs) / 1_000,
          group: { id: group },
        })),
        { db },
      );
    },
    async remove(jobs) {
      if (jobs.length > 0) await boss.deleteJob(QUEUE, jobs.map(idAndRetryCount), { db });
    },
  };
}

function idAndRetryCount({ jobId, retryCount }: TakenJob): { id: string; retryCount: number } {
  return { id: jobId, retryCount };
}

async function commit(client: PoolClient): Promise<void> {
  try {
    await client.query('COMMIT');
  } catch (error) {
    throw new CommitUnknownError('the connection was lost during COMMIT', { cause: error });
  }
}

/** @returns why the connection is no longer usable; undefined when it still is. */
async function rollBack(client: PoolClient, error: unknown): Promise<Error | undefined> {
  if (error instanceof CommitUnknownError) return error;
  try {
    await client.query('ROLLBACK');
    return undefined;
  } catch (lost) {
    return lost instanceof Error ? lost : new Error(String(lost));
  }
}
