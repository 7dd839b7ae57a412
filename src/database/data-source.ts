import { DataSource, type DataSourceOptions } from 'typeorm';

/** The entity classes of a data source. A room below cannot know them, so the caller lists what it reads. */
export type Entities = readonly (new () => object)[];

const CONNECT_TIMEOUT_MS = 2_000;
const IDLE_CONNECTION_TIMEOUT_MS = 30_000;
/** Our statements take milliseconds. If one takes seconds it is stuck, so we let it fail. */
export const STATEMENT_TIMEOUT_MS = 5_000;
/** Measured on our side of the connection, for a server that has stopped responding. */
const QUERY_TIMEOUT_MS = 8_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;

/**
 * Every statement of the write path finds its rows by key. A generic plan made while the tables were empty would scan
 * them for as long as it is cached. So the planner may only use indexes and nested loops, which also lock rows in the
 * order of the arrays that we send. JIT and parallel workers are off: if the planner expects far more rows than there
 * are, either adds 100 ms before a statement for one row begins.
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

/** The only data source: the entities, and the pool that pipelined transactions also use. */
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
