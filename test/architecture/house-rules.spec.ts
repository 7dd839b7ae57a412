import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const FOLDERS = ['src', 'migrations', 'test', 'bench', 'chaos'];
/** class-transformer and TypeORM fill these objects after construction, which TypeScript cannot see. */
const FILLED_LATER = /\.(dto|entity)\.ts$/;
const DEFINITE_ASSIGNMENT = /^\s*(?:(?:public|protected|private|static|readonly|override)\s+)*#?\w+!\s*:/m;

describe('the rules that neither compiler nor lint can hold', () => {
  it('only DTOs and entities have properties that no constructor sets', () => {
    const others = sources().filter((file) => !FILLED_LATER.test(file));
    expect(others.length).toBeGreaterThan(100);
    expect(others.filter((file) => DEFINITE_ASSIGNMENT.test(read(file)))).toEqual([]);
  });

  it('control: such a property is found wherever it stands', () => {
    expect('class A {\n  private readonly wake!: () => void;\n}').toMatch(DEFINITE_ASSIGNMENT);
    expect('  let server!: Server;').not.toMatch(DEFINITE_ASSIGNMENT);
    expect(read('src/payments/payment.entity.ts')).toMatch(DEFINITE_ASSIGNMENT);
    expect('if (first !== second) return first!;').not.toMatch(DEFINITE_ASSIGNMENT);
  });

  it('.nvmrc names the Node that the package `node` pins, and the tests run on it', () => {
    const { version } = JSON.parse(read('node_modules/node/package.json')) as { version: string };
    expect(read('.nvmrc').trim()).toBe(version);
    expect(process.versions.node).toBe(version);
  });
});

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
