import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** Tells the jest workers, and Node itself, which folder to use. */
const CACHE_VARIABLE = 'NODE_COMPILE_CACHE';
/** Names the file of `remembered-modules.ts`. */
const MODULES_VARIABLE = 'HAPAX_TEST_MODULES';
const REMEMBERED_MODULES = new URL('./remembered-modules.js', import.meta.url);
/** What most programs that tests start share: the service, and TypeORM for the commands. */
const APP = new URL('../../src/app.js', import.meta.url);

/**
 * The environment for every program that a test starts. Only PATH and what makes its start short come from our own:
 * compiling and finding modules is most of a service's start, and the tests start it more than a hundred times.
 */
export function childEnvironment(
  env: Readonly<Record<string, string | undefined>> = {},
): Record<string, string | undefined> {
  return {
    PATH: process.env['PATH'],
    [CACHE_VARIABLE]: process.env[CACHE_VARIABLE],
    [MODULES_VARIABLE]: process.env[MODULES_VARIABLE],
    NODE_OPTIONS: `--import=${REMEMBERED_MODULES.href}`,
    ...env,
  };
}

/** Fills the cache and remembers the modules. A program that is killed, as many are here, writes neither down. */
export async function prepareQuickStarts(folder: string): Promise<void> {
  process.env[CACHE_VARIABLE] = folder;
  process.env[MODULES_VARIABLE] = join(folder, 'modules.json');
  await mkdir(folder, { recursive: true });
  await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', `await import(${JSON.stringify(APP.href)})`],
    { env: childEnvironment(), cwd: fileURLToPath(new URL('.', APP)) },
  );
}
