// Builds before a command that needs the build, and only then: most starts have nothing to compile.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
// TypeScript leaves outputs alone that did not change, so their age tells nothing. This file's does.
const stamp = join(root, 'dist', '.built');
const inputs = ['src', 'migrations', 'tsconfig.json', 'tsconfig.build.json', 'nest-cli.json', 'package.json'];

const startedAt = new Date();
if (!existsSync(stamp) || newest(inputs.map((input) => join(root, input))) >= statSync(stamp).mtimeMs)
  build();

function build() {
  // On standard error: what the command itself says on standard output may be for a program.
  console.error('Building Hapax …');
  const nest = createRequire(import.meta.url).resolve('@nestjs/cli/bin/nest.js');
  for (const args of [[join(root, 'scripts', 'prune-dist.mjs')], [nest, 'build']]) {
    const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ['inherit', 2, 2] });
    if (status !== 0) process.exit(status ?? 1);
  }
  // As old as the build's beginning, so that what was edited during it is built by the next start.
  writeFileSync(stamp, '');
  utimesSync(stamp, startedAt, startedAt);
}

/** Folders count, too: theirs is the time at which a file in them was removed. */
function newest(paths) {
  const times = paths.filter(existsSync).map((path) => {
    const stats = statSync(path);
    const inside = stats.isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [];
    return Math.max(stats.mtimeMs, newest(inside));
  });
  return Math.max(0, ...times);
}
