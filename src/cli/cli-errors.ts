/** The SQLSTATEs for a missing table and a missing column. */
const MISSING_SCHEMA: ReadonlySet<string> = new Set(['42P01', '42703']);

/** Explains an error from the database, or from connecting to it, in one sentence. Null for any other error. */
export function explainDatabaseError(error: unknown): string | null {
  const { code, message } = Object(error) as { code?: unknown; message?: unknown };
  // ECONNREFUSED, 28P01 (wrong password), 3D000 (no such database) …
  if (typeof code !== 'string') return null;
  if (MISSING_SCHEMA.has(code)) {
    return 'The database lacks migrations: run "npm run migration:run" first.';
  }
  return `The database refused: ${String(message) || code} (${code})`;
}
