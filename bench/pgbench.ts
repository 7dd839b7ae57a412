import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { dataSourceOptions } from '../src/database/data-source.js';
import type { RecordedTransaction } from './charge-statements.js';
import { percentile, type Rates } from './load.js';

const run = promisify(execFile);
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
/** How many ids fit into one charge: far more than it needs. */
const IDS_PER_CHARGE = 16;
/** How many clients get numbers of their own: far more than we start. */
const MAX_CLIENTS = 1_000;
const THREADS = 2;

/** A script, and the constants that it needs. pgbench takes constants only on its command line. */
export interface PgbenchScript {
  text: string;
  constants: Readonly<Record<string, string>>;
}

/** Where `pgbench` is, or null: the embedded PostgreSQL does not include it. */
export async function findPgbench(): Promise<string | null> {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? await readdir(debian) : [];
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(debian, version, 'bin')),
  ];
  return folders.map((folder) => join(folder, 'pgbench')).find((path) => existsSync(path)) ?? null;
}

/**
 * The recorded transactions as a script for pgbench: the same statements with the same parameters. Only the recorded
 * charge's key and ids are replaced, wherever they occur, by new ones from a counter. Ids grow with time, as ours do.
 */
export function pgbenchScript(
  transactions: readonly RecordedTransaction[],
  idempotencyKey: string,
  sharedIds: readonly string[],
): PgbenchScript {
  const constants: Record<string, string> = {};
  const ids = new Map<string, string>();
  const lines = ['\\set i :i + 1', `\\set n :i * ${MAX_CLIENTS} + :client_id`];
  const constant = (value: string): string => {
    // pgbench refuses to define an empty variable.
    if (value === '') return "''";
    const name = `c${Object.keys(constants).length}`;
    constants[name] = value;
    return `:${name}`;
  };
  const made = (found: string): string => {
    if (found === idempotencyKey) return `'${idempotencyKey}-' || :n`;
    const id = ids.get(found) ?? `lpad(to_hex(:n::bigint * ${IDS_PER_CHARGE} + ${ids.size}), 32, '0')`;
    ids.set(found, id);
    return id;
  };
  const changing = new RegExp(`${idempotencyKey}|${UUID.source}`, 'g');
  const expression = (parameter: string | null): string => {
    if (parameter === null) return 'NULL';
    const pieces: string[] = [];
    let end = 0;
    for (const { 0: found, index } of parameter.matchAll(changing)) {
      if (sharedIds.includes(found)) continue;
      pieces.push(`${constant(parameter.slice(end, index))}::text`, made(found));
      end = index + found.length;
    }
    if (end < parameter.length)
      pieces.push(end === 0 ? constant(parameter) : `${constant(parameter.slice(end))}::text`);
    return pieces.length === 1 ? (pieces[0] ?? '') : `(${pieces.join(' || ')})`;
  };
  for (const statements of transactions) {
    lines.push('BEGIN;');
    for (const { text, parameters } of statements) {
      lines.push(
        `${text.trim().replaceAll(/\$(\d+)/g, (_, number) => expression(parameters[Number(number) - 1] ?? null))};`,
      );
    }
    lines.push('COMMIT;');
  }
  return { text: `${lines.join('\n')}\n`, constants };
}

/** pgbench's clock runs while its clients connect, which takes more than a second on a busy machine. */
const MIN_SECONDS = 4;

interface PgbenchJob {
  program: string;
  script: PgbenchScript;
  databaseUrl: string;
  folder: string;
  clients: number;
  warmUpMs: number;
  measureMs: number;
  /** Charges with lower numbers are already in this database. */
  firstNumber: number;
}

interface PgbenchResult extends Rates {
  charges: number;
}

/** One run of the script is one charge. The rate and the latencies come from pgbench's log of each run. */
export async function runPgbench(job: PgbenchJob): Promise<PgbenchResult> {
  const { hostname, port, username, password, pathname } = new URL(job.databaseUrl);
  const script = join(job.folder, 'charge.sql');
  const logs = join(job.folder, 'pgbench-log');
  await writeFile(script, job.script.text);
  const constants = { ...job.script.constants, i: String(job.firstNumber) };
  const seconds = Math.max(MIN_SECONDS, Math.ceil((job.warmUpMs + job.measureMs) / 1_000));
  const { stdout } = await run(
    job.program,
    [
      '--no-vacuum',
      '--protocol=prepared',
      `--file=${script}`,
      '--log',
      `--log-prefix=${logs}`,
      `--client=${job.clients}`,
      `--jobs=${Math.min(THREADS, job.clients)}`,
      `--time=${seconds}`,
      ...Object.entries(constants).flatMap(([name, value]) => ['--define', `${name}=${value}`]),
      `--host=${hostname}`,
      `--port=${port}`,
      `--username=${decodeURIComponent(username)}`,
      pathname.slice(1),
    ],
    {
      env: {
        PATH: process.env['PATH'],
        PGPASSWORD: decodeURIComponent(password),
        PGOPTIONS: sessionOptions(job.databaseUrl),
      },
    },
  );
  if (!/failed transactions: 0 /.test(stdout)) throw new Error(`pgbench had failures:\n${stdout}`);
  return readLogs(job);
}

/** The planner settings that the service's own connections use. */
function sessionOptions(databaseUrl: string): string {
  const { extra } = dataSourceOptions(databaseUrl, [], 1) as { extra?: { options?: string } };
  return extra?.options ?? '';
}

async function readLogs({ folder, warmUpMs, measureMs }: PgbenchJob): Promise<PgbenchResult> {
  const files = (await readdir(folder))
    .filter((name) => name.startsWith('pgbench-log.'))
    .map((name) => join(folder, name));
  const lines = (await Promise.all(files.map((file) => readFile(file, 'utf8'))))
    .join('')
    .split('\n')
    .filter((line) => line !== '');
  await Promise.all(files.map((file) => rm(file)));
  // client, transaction, latency in µs, script, end in s and µs since 1970
  const runs = lines
    .map((line) => line.split(' ').map(Number))
    .map(([, , us = 0, , s = 0, rest = 0]) => ({
      latencyMs: us / 1_000,
      endMs: s * 1_000 + rest / 1_000,
    }));
  const startMs =
    runs.reduce((least, { endMs, latencyMs }) => Math.min(least, endMs - latencyMs), Infinity) + warmUpMs;
  const measured = runs.filter(({ endMs }) => endMs >= startMs && endMs < startMs + measureMs);
  const sorted = Float64Array.from(measured, ({ latencyMs }) => latencyMs).toSorted();
  return {
    charges: runs.length,
    perSecond: (sorted.length / measureMs) * 1_000,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
  };
}
