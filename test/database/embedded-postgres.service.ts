/** Stands in for the service in `embedded-postgres.spec.ts`: starts PostgreSQL, tells its URL, and lives on. */
import { startEmbeddedPostgres } from '../../src/database/embedded-postgres.js';

const { url } = await startEmbeddedPostgres(process.argv[2] ?? '');
process.send?.(url);
setInterval(() => undefined, 60_000);
