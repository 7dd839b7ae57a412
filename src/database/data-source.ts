import { DataSource, type DataSourceOptions } from 'typeorm';

/** The entity classes of a data source. A room below cannot know them, so the caller lists what it reads. */
export type Entities = readonly (new () => object)[];

const CONNECT_TIMEOUT_MS = 2_000;
const IDLE_CONNECTION_TIMEOUT_MS = 30_000;
/** A statement of ours takes milliseconds; one that takes seconds is stuck, and its client is told so. */
const STATEMENT_TIMEOUT_MS = 5_000;
/** Counts on this side of the wire, for a server that has stopped answering altogether. */
const QUERY_TIMEOUT_MS = 8_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;

/**
 * Every statement of the write path finds its rows by key. A generic plan that was made while the tables were empty
 * would scan them for as long as it is cached, so the planner is kept to indexes and nested loops, which also lock
 * rows in the order of the arrays that we send. Nor is anything compiled, nor shared out among workers: where the
 * planner expects far more rows than there are, either takes 100 ms before a statement of one begins.
 */
const PLANNER = [
  'enable_seqscan=off',
  'enable_hashjoin=off',
  'enable_mergejoin=off',
  'jit=off',
  'max_parallel_workers_per_gather=0',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');

/** The one data source: entities, and the pool that the pipelined transactions take from, too. */
export function dataSourceOptions(
  databaseUrl: string,
  entities: Entities,
  poolSize: number,
): DataSourceOptions {
  return {
    type: 'postgres',
    url: databaseUrl,
    applicationName: 'hapax',
    entities: [...entities],
    migrationsTableName: 'migrations',
    synchronize: false,
    logging: false,
    poolSize,
    extra: {
      pipeline: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      idleTimeoutMillis: IDLE_CONNECTION_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
      options: PLANNER,
    },
  };
}

export function createDataSource(databaseUrl: string, entities: Entities, poolSize = 3): DataSource {
  return new DataSource(dataSourceOptions(databaseUrl, entities, poolSize));
}
