// Runs before a command that needs the build. It builds only if a source changed: most starts have nothing to compile.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
// TypeScript does not rewrite unchanged outputs, so their age says nothing. The age of this file does.
const stamp = join(root, 'dist', '.built');
const inputs = ['src', 'migrations', 'tsconfig.json', 'tsconfig.build.json', 'nest-cli.json', 'package.json'];

const startedAt = new Date();
if (!existsSync(stamp) || newest(inputs.map((input) => join(root, input))) >= statSync(stamp).mtimeMs)
  build();

function build() {
  // To standard error, because a program may read the command's standard output.
  console.error('Building Hapax …');
  const nest = createRequire(import.meta.url).resolve('@nestjs/cli/bin/nest.js');
  for (const args of [[join(root, 'scripts', 'prune-dist.mjs')], [nest, 'build']]) {
    const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ['inherit', 2, 2] });
    if (status !== 0) process.exit(status ?? 1);
  }
  // Dated to the start of the build, so that edits made during it are built next time.
  writeFileSync(stamp, '');
  utimesSync(stamp, startedAt, startedAt);
}

/** Folders count too: removing a file changes only its folder's time. */
function newest(paths) {
  const times = paths.filter(existsSync).map((path) => {
    const stats = statSync(path);
    const inside = stats.isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [];
    return Math.max(stats.mtimeMs, newest(inside));
  });
  return Math.max(0, ...times);
}
