/**
 * The supervisor: the process between the service and its embedded PostgreSQL, started by `startEmbeddedPostgres`.
 * It holds the lock on the data folder, starts PostgreSQL, and stops it when told to or when the service is gone.
 */
import { StartupError } from '../config/startup-error.js';
import { EmbeddedCluster } from './embedded-postgres.cluster.js';
import { lockDataDir } from './embedded-postgres.lock.js';
import type { SupervisorJob, SupervisorReport } from './embedded-postgres.js';

const job = JSON.parse(process.argv[2] ?? '') as SupervisorJob;
const cluster = new EmbeddedCluster(job.dataDir, job);

// A signal is for the service, which tells us when it is done. `kill`, service managers and closed terminals may well
// send it to every process that they find.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('message', (message) => {
  if (message === 'stop') void shutDown(0);
});
process.once('disconnect', () => void shutDown(0));

await run();

async function run(): Promise<void> {
  try {
    await lockDataDir(job.dataDir, job.servicePid);
    const url = await cluster.start();
    report({ url });
  } catch (error) {
    report({ failure: sentence(error) });
    await shutDown(1);
  }
  if (!process.connected) await shutDown(0);
}

async function shutDown(code: number): Promise<void> {
  await cluster.stop();
  // Also lets go of the lock: only now is the folder free.
  process.exit(code);
}

/** The service may be gone by now, and there is nobody else to tell. */
function report(message: SupervisorReport): void {
  if (process.connected) process.send?.(message, undefined, {}, () => undefined);
}

function sentence(error: unknown): string {
  if (error instanceof StartupError) return error.message;
  return `The embedded PostgreSQL in ${job.dataDir} could not be started: ${error instanceof Error ? error.message : String(error)}`;
}
