import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Tells the jest workers, and Node itself, which folder to use. */
const CACHE_VARIABLE = 'NODE_COMPILE_CACHE';
/** What most programs that tests start share: the service, and TypeORM for the commands. */
const APP = new URL('../../src/app.js', import.meta.url);

/**
 * The environment for every program that a test starts. Only PATH and Node's compile cache come from our own: half of a
 * service's start is compiling, and the tests start it more than a hundred times.
 */
export function childEnvironment(
  env: Readonly<Record<string, string | undefined>> = {},
): Record<string, string | undefined> {
  return { PATH: process.env['PATH'], [CACHE_VARIABLE]: process.env[CACHE_VARIABLE], ...env };
}

/** Fills the cache. A program that is killed, as many are here, writes nothing to it. */
export async function fillCompileCache(folder: string): Promise<void> {
  process.env[CACHE_VARIABLE] = folder;
  await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', `await import(${JSON.stringify(APP.href)})`],
    { env: childEnvironment(), cwd: fileURLToPath(new URL('.', APP)) },
  );
}
