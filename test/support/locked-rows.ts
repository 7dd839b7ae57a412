import { Client } from 'pg';

/** Rows that a connection of our own has locked, as a migration or an operator at a prompt might. */
export interface LockedRows {
  release(): Promise<void>;
}

/** @param select a SELECT … FOR UPDATE; it must find as many rows as are expected. */
export async function lockRows(
  databaseUrl: string,
  select: string,
  values: unknown[],
  expected: number,
): Promise<LockedRows> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query('BEGIN');
  const { rowCount } = await client.query(select, values);
  if (rowCount !== expected) {
    await client.end();
    throw new Error(`locked ${rowCount} rows instead of ${expected}`);
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
