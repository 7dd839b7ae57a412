/**
 * Preloaded into every program that a test starts. The service has three thousand modules, and looking for their files
 * is half of its start. The first program writes down what Node found; the others look there before they ask Node.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

/** By importer, then by how it imports and what it names: the URL and its format. */
type Found = Record<string, Record<string, [url: string, format: string | null | undefined]>>;

const file = process.env['HAPAX_TEST_MODULES'];

if (file !== undefined && existsSync(file)) reuse(JSON.parse(readFileSync(file, 'utf8')) as Found);
else if (file !== undefined) record(file);

function reuse(found: Found): void {
  registerHooks({
    resolve(specifier, context, next) {
      const known = found[context.parentURL ?? '']?.[nameOf(specifier, context.conditions)];
      if (known === undefined) return next(specifier, context);
      return { url: known[0], format: known[1] ?? undefined, shortCircuit: true };
    },
  });
}

function record(to: string): void {
  const found: Found = {};
  registerHooks({
    resolve(specifier, context, next) {
      const { url, format } = next(specifier, context);
      if (!url.startsWith('node:')) {
        const importer = (found[context.parentURL ?? ''] ??= {});
        importer[nameOf(specifier, context.conditions)] = [url, format];
      }
      return { url, format };
    },
  });
  process.once('exit', () => writeFileSync(to, JSON.stringify(found)));
}

/** `require` and `import` of one name may find different files. */
function nameOf(specifier: string, conditions: readonly string[]): string {
  return `${conditions.includes('require') ? 'require' : 'import'} ${specifier}`;
}
