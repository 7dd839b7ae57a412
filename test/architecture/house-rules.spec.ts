import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDERS = ['src', 'migrations', 'test', 'bench', 'chaos'];
/** class-transformer and TypeORM fill these objects after construction, which TypeScript cannot see. */
const FILLED_LATER = /\.(dto|entity)\.ts$/;
const DEFINITE_ASSIGNMENT = /^\s*(?:(?:public|protected|private|static|readonly|override)\s+)*#?\w+!\s*:/m;

const EXPORT = /^export (?:declare |abstract |async )*(?:class|interface|type|const|function|enum) (\w+)/gm;

describe('the rules that neither the compiler nor lint can check', () => {
  it('only DTOs and entities have properties that no constructor sets', () => {
    const others = sources().filter((file) => !FILLED_LATER.test(file));
    expect(others.length).toBeGreaterThan(100);
    expect(others.filter((file) => DEFINITE_ASSIGNMENT.test(read(file)))).toEqual([]);
  });

  it('control: such a property is found, and nothing else is mistaken for one', () => {
    expect('class A {\n  private readonly wake!: () => void;\n}').toMatch(DEFINITE_ASSIGNMENT);
    expect('  let server!: Server;').not.toMatch(DEFINITE_ASSIGNMENT);
    expect(read('src/payments/payment.entity.ts')).toMatch(DEFINITE_ASSIGNMENT);
    expect('if (first !== second) return first!;').not.toMatch(DEFINITE_ASSIGNMENT);
  });

  it('no statement compares a row with the number of a transaction: it has 32 bits, and means nothing elsewhere', () => {
    const statements = sources().filter((file) => !file.startsWith('test/architecture/'));
    const comparing = statements.filter((file) => /\bx(?:min|max)\s*(?:=|<|>|IS)|::xid\b/.test(read(file)));
    expect(comparing).toEqual([]);
  });

  it('everything that src exports is used by another file', () => {
    const files = sources().map((file) => ({ file, text: read(file) }));
    expect(unusedExports(files)).toEqual([]);
  });

  it('control: an export that no other file uses is found', () => {
    const files = [
      { file: 'src/a.ts', text: 'export const used = 1;\nexport function unused() {}\nunused();' },
      { file: 'src/b.ts', text: "import { used } from './a.js';" },
    ];
    expect(unusedExports(files)).toEqual(['src/a.ts: unused']);
  });

  it('.nvmrc names the Node that the package `node` pins, and the tests run on it', () => {
    const { version } = JSON.parse(read('node_modules/node/package.json')) as { version: string };
    expect(read('.nvmrc').trim()).toBe(version);
    expect(process.versions.node).toBe(version);
  });
});

function unusedExports(files: readonly { file: string; text: string }[]): string[] {
  const words = files.map(({ file, text }) => ({ file, words: new Set(text.match(/\w+/g)) }));
  return files
    .filter(({ file }) => file.startsWith('src/'))
    .flatMap(({ file, text }) =>
      [...text.matchAll(EXPORT)]
        .map(([, name = '']) => name)
        .filter((name) => !words.some((other) => other.file !== file && other.words.has(name)))
        .map((name) => `${file}: ${name}`),
    );
}

function sources(): string[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => `${folder}/${path}`),
  );
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}
