/** Of our own tables and the queue's. PostgreSQL's own schemas are the same everywhere. */
const NAMESPACES = `n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'`;

/**
 * Every part of a schema as a line of text. Columns are numbered by their order, because a dropped column leaves a gap
 * in PostgreSQL's own numbers.
 */
const DESCRIPTION = `
  SELECT concat_ws(' ', 'schema', n.nspname, obj_description(n.oid, 'pg_namespace')) AS line
  FROM pg_namespace n WHERE ${NAMESPACES}
  UNION ALL
  SELECT concat_ws(' ', 'relation', n.nspname, c.relname, c.relkind, c.relpersistence, c.reloptions,
    pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), obj_description(c.oid, 'pg_class'),
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE ${NAMESPACES} AND c.relkind NOT IN ('c', 't')
  UNION ALL
  SELECT concat_ws(' ', 'column', n.nspname, c.relname,
    row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 'NOT NULL' END, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
    col_description(c.oid, a.attnum))
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm')
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  WHERE ${NAMESPACES} AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT concat_ws(' ', 'constraint', n.nspname, c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
  FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE ${NAMESPACES}
  UNION ALL
  SELECT concat_ws(' ', 'index', n.nspname, pg_get_indexdef(i.indexrelid), i.indisvalid)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE ${NAMESPACES}
  UNION ALL
  SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled)
  FROM pg_trigger t WHERE NOT t.tgisinternal
  UNION ALL
  SELECT concat_ws(' ', 'function', pg_get_functiondef(p.oid))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE ${NAMESPACES} AND p.prokind IN ('f', 'p')
  UNION ALL
  SELECT concat_ws(' ', 'enum', n.nspname, t.typname, array_agg(e.enumlabel ORDER BY e.enumsortorder)::text)
  FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE ${NAMESPACES} GROUP BY n.nspname, t.typname
  ORDER BY line`;

interface Database {
  query<T>(sql: string): Promise<T>;
}

/** Everything that a migration can build, so that two schemas can be compared. */
export async function describeSchema(database: Database): Promise<string[]> {
  const rows = await database.query<{ line: string }[]>(DESCRIPTION);
  return rows.map(({ line }) => line);
}

/** The rows of all our tables by table. Times of creation are left out: a snapshot that is made again has a new one. */
export async function readAllRows(database: Database): Promise<Record<string, unknown[]>> {
  const tables = await database.query<{ name: string }[]>(
    `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'migrations' ORDER BY 1`,
  );
  const content: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    const rows = await database.query<{ row: unknown }[]>(
      `SELECT to_jsonb(t) - 'created_at' AS row FROM ${name} t ORDER BY 1`,
    );
    content[name] = rows.map(({ row }) => row);
  }
  return content;
}
