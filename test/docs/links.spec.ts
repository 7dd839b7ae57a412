import { access } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { codes, pagePaths, prose, readPage, ROOT } from './pages.js';

/** Our folders whose files pages name. */
const PATH_OF_OURS = /^(src|test|docs|scripts|bench|chaos|migrations|\.ci)\/[\w./-]+$/;

describe('every page', () => {
  it('links only to pages and headings that exist', async () => {
    expect(await broken(linksOf)).toEqual([]);
  });

  it('names only files and folders of ours that exist', async () => {
    expect(await broken(pathsOf)).toEqual([]);
  });
});

describe('control', () => {
  it('a link to nowhere, a missing heading and a missing file are found', async () => {
    const page =
      '[a](nowhere.md) [b](#two-commands) [c](#there) [d](docs/chaos.md#the-verdict) `src/gone.ts`';
    expect(await missing(linksOf('README.md', page))).toEqual(['nowhere.md', 'README.md#there']);
    expect(await missing(pathsOf('README.md', page))).toEqual(['src/gone.ts']);
  });
});

type TargetsOf = (path: string, page: string) => string[];

async function broken(targetsOf: TargetsOf): Promise<string[]> {
  const found: string[] = [];
  for (const path of await pagePaths()) {
    for (const target of await missing(targetsOf(path, await readPage(path)))) {
      found.push(`${path}: ${target}`);
    }
  }
  return found;
}

/** Relative links, as paths from the root. */
function linksOf(path: string, page: string): string[] {
  const links = [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => (link.startsWith('#') ? `${path}${link}` : normalize(join(dirname(path), link))));
}

function pathsOf(_path: string, page: string): string[] {
  return codes(prose(page)).filter((code) => PATH_OF_OURS.test(code));
}

async function missing(targets: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const target of targets) {
    const [file = '', heading] = target.split('#');
    const exists = await access(join(ROOT, file)).then(
      () => true,
      () => false,
    );
    if (!exists || (heading !== undefined && !headings(await readPage(file)).includes(heading))) {
      found.push(target);
    }
  }
  return found;
}

/** The anchors that GitHub makes of headings. */
function headings(page: string): string[] {
  return [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}
