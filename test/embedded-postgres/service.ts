/** Stands in for the service in `server.spec.ts`: starts PostgreSQL, sends its URL to the test, and keeps running. */
import { startEmbeddedPostgres } from '../../src/embedded-postgres/server.js';

const { url } = await startEmbeddedPostgres(process.argv[2] ?? '');
process.send?.(url);
setInterval(() => undefined, 60_000);
