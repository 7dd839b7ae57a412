// Compiles whatever is saved and runs tests again after it: `npm run test:watch -- claims.store` runs the specs whose
// path matches, `npm run test:watch` runs all of them each time. TypeScript and jest share the terminal; jest has the
// keyboard. Every run starts PostgreSQL anew, as `npm test` does.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const inPackages = (path) => join(root, 'node_modules', path);
const running = [];

spawnSync(process.execPath, [join(root, 'scripts', 'prune-dist.mjs')], { stdio: 'inherit' });
const compiler = run([inPackages('typescript/bin/tsc'), '--watch', '--preserveWatchOutput'], 'pipe');
compiler.stdout.pipe(process.stdout);
// jest would run what an earlier build left behind, so it waits until the first compilation is through.
await firstCompilation();
run([
  '--experimental-vm-modules',
  '--no-warnings',
  inPackages('jest/bin/jest.js'),
  '--watchAll',
  // The specs import from there, so that a change outside the tests starts them, too.
  ...['dist/test', 'dist/src', 'dist/migrations', 'dist/bench', 'dist/chaos'].flatMap((path) => [
    '--roots',
    path,
  ]),
  ...process.argv.slice(2).flatMap((pattern) => ['--testPathPatterns', pattern]),
]);

/** Neither is of use without the other: when one ends, so does the other. */
function run(args, stdout = 'inherit') {
  const child = spawn(process.execPath, args, { cwd: root, stdio: ['inherit', stdout, 'inherit'] });
  running.push(child);
  child.on('exit', (code) => {
    for (const other of running) other.kill();
    process.exitCode ??= code ?? 0;
  });
  return child;
}

function firstCompilation() {
  return new Promise((done) => {
    compiler.stdout.on('data', (text) => {
      if (String(text).includes('Watching for file changes')) done();
    });
  });
}
