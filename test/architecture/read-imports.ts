import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';

/** The repository, seen from the compiled tests. */
export const REPOSITORY = join(import.meta.dirname, '../../..');

/** Every TypeScript file below a folder of the repository, with the files of that folder that it imports: types, too. */
export function readImports(folder: string): Map<string, string[]> {
  const root = join(REPOSITORY, folder);
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return new Map(
    files.map((file) => {
      const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), 'utf8'));
      const targets = importedFiles
        .filter(({ fileName }) => fileName.startsWith('.'))
        .map(({ fileName }) => normalize(join(dirname(file), fileName)).replace(/\.js$/, '.ts'))
        .filter((target) => !target.startsWith('..'));
      return [file, targets];
    }),
  );
}
