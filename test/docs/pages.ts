import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The repository: the compiled tests are in dist/test/docs. */
export const ROOT = join(import.meta.dirname, '../../..');

/** Pages for people, by their path from the root. */
export async function pagePaths(): Promise<string[]> {
  const inDocs = await readdir(join(ROOT, 'docs'), { recursive: true });
  return [
    'README.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    ...inDocs
      .filter((path) => path.endsWith('.md'))
      .map((path) => `docs/${path}`)
      .toSorted(),
  ];
}

export function readPage(path: string): Promise<string> {
  return readFile(join(ROOT, path), 'utf8');
}

/** What a page says outside its code blocks, where a path is an example and not a reference. */
export function prose(page: string): string {
  return page.replaceAll(/^ *```.*?^ *```$/gms, '');
}

/** The cells of every table row of a page, without headings and the lines below those. */
export function tableRows(page: string): string[][] {
  const lines = prose(page).split('\n');
  const isRow = (line: string | undefined): boolean => line?.startsWith('|') === true;
  return lines
    .filter((line, at) => isRow(line) && !/^\|[ -:|]+\|$/.test(line) && isRow(lines[at - 1]))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
}

/** Everything in backticks. */
export function codes(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = '']) => code);
}
