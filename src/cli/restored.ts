import type { Environment } from '../config/environment-reader.js';
import { StartupError } from '../config/startup-error.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { RestoresStore, type Restore } from '../idempotency/restores.store.js';
import { withDatabase } from './cli-database.js';

/** From now on every process looks up first what it sends for the first time. */
export async function beginRestore(env: Environment, lostSince: Date, durationMs: number): Promise<Restore> {
  const restore = await withRestores(env, (restores) => restores.begin(lostSince, durationMs));
  if (restore === null) throw new StartupError('--since must be in the past, by the clock of the database.');
  return restore;
}

export function endRestores(env: Environment): Promise<Restore[]> {
  return withRestores(env, (restores) => restores.end());
}

export function restoreToWire({ lostSince, restoredAt, endsAt }: Restore) {
  return {
    lost_since: lostSince.toISOString(),
    restored_at: restoredAt.toISOString(),
    ends_at: endsAt.toISOString(),
  };
}

export function describeRestore({ lostSince, restoredAt, endsAt }: Restore): string[] {
  return [
    `What was sent from ${lostSince.toISOString()} to ${restoredAt.toISOString()} counts as forgotten.`,
    `Until ${endsAt.toISOString()}, first calls look up first, in every process, from now on.`,
    'Run reconcile to see what the gateway has and the database has forgotten.',
  ];
}

function withRestores<Result>(
  env: Environment,
  use: (restores: RestoresStore) => Promise<Result>,
): Promise<Result> {
  return withDatabase(env, ({ dataSource }) => use(new RestoresStore(new PipelinedTransactions(dataSource))));
}
