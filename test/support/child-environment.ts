import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** How the workers learn of the folder, and how Node itself does. */
const CACHE_VARIABLE = 'NODE_COMPILE_CACHE';
/** What most programs that tests start have in common: the service, and TypeORM for the commands. */
const APP = new URL('../../src/app.js', import.meta.url);

/**
 * What every program is started with. Nothing else of our own environment reaches it, but Node's cache of compiled
 * code, because the start of a service is half compiling, and the tests start it more than a hundred times.
 */
export function childEnvironment(
  env: Readonly<Record<string, string | undefined>> = {},
): Record<string, string | undefined> {
  return { PATH: process.env['PATH'], [CACHE_VARIABLE]: process.env[CACHE_VARIABLE], ...env };
}

/** Fills the cache: a program that is killed, as many are here, leaves nothing in it. */
export async function fillCompileCache(folder: string): Promise<void> {
  process.env[CACHE_VARIABLE] = folder;
  await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', `await import(${JSON.stringify(APP.href)})`],
    { env: childEnvironment(), cwd: fileURLToPath(new URL('.', APP)) },
  );
}
