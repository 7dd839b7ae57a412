import { Client } from 'pg';

/** Rows that a connection of our own has locked, as a migration or an operator at a prompt might. */
export interface LockedRows {
  release(): Promise<void>;
}

/** @param select a SELECT … FOR UPDATE of the rows that `$1` names, each of which must exist; or a LOCK TABLE. */
export async function lockRows(
  databaseUrl: string,
  select: string,
  named: readonly string[],
): Promise<LockedRows> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('BEGIN');
  const { rowCount } = await client.query(select, named.length > 0 ? [named] : []);
  if ((rowCount ?? 0) !== named.length) {
    await client.end();
    throw new Error(`locked ${rowCount} rows instead of ${named.length}`);
  }
  let held = true;
  return {
    release: async () => {
      if (!held) return;
      held = false;
      await client.query('ROLLBACK');
      await client.end();
    },
  };
}
