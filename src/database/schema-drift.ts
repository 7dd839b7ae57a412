import type { DataSource } from 'typeorm';

export interface SqlStatement {
  readonly query: string;
  readonly parameters?: readonly unknown[] | undefined;
}

/** What would make the database what the entities say, and what would undo it; each in the order to run it. */
export interface SchemaDrift {
  readonly up: readonly SqlStatement[];
  readonly down: readonly SqlStatement[];
}

/** Compares the entities of a data source with its migrated database. It changes nothing. */
export async function findSchemaDrift(dataSource: DataSource): Promise<SchemaDrift> {
  const { upQueries, downQueries } = await dataSource.driver.createSchemaBuilder().log();
  const isHandWritten = await handWritten(dataSource);
  return {
    up: upQueries.filter(({ query }) => !isHandWritten(query)),
    down: downQueries.filter(({ query }) => !isHandWritten(query)).toReversed(),
  };
}

/**
 * We write checks and table comments only in migrations. The entities do not repeat them, so TypeORM would drop them all.
 * @returns a function that says whether a statement drops one of them, or puts it back
 */
async function handWritten(dataSource: DataSource): Promise<(query: string) => boolean> {
  const checks = await dataSource.query<{ name: string }[]>(
    "SELECT conname AS name FROM pg_constraint WHERE contype = 'c'",
  );
  const names = new Set(checks.map(({ name }) => name));
  return (query) => {
    const constraint = /(?:DROP|ADD) CONSTRAINT "([^"]+)"/.exec(query)?.[1];
    return query.startsWith('COMMENT ON TABLE ') || (constraint !== undefined && names.has(constraint));
  };
}
