import { loadConfig } from '../../src/config/load-config.js';
import { codes, readPage, tableRows } from './pages.js';

describe('docs/configuration.md', () => {
  it('has every variable that the service reads, once, and no other', async () => {
    const described = tableRows(await readPage('docs/configuration.md')).flatMap(([name = '']) =>
      codes(name),
    );
    expect(described.toSorted()).toEqual(variablesRead());
  });

  it('control: finds a variable that the service reads, and none that it does not read', () => {
    expect(variablesRead()).toContain('DATABASE_URL');
    expect(variablesRead()).not.toContain('DATABASE_URI');
  });
});

/** Asks the configuration itself: what it looks up in its environment, in the sandbox and outside it, is what it reads. */
function variablesRead(): string[] {
  const read = new Set<string>();
  const recording = (env: Record<string, string>) =>
    new Proxy(env, {
      get(target, name) {
        read.add(String(name));
        return Reflect.get(target, name) as string | undefined;
      },
    });
  loadConfig(recording({}));
  loadConfig(recording({ GATEWAY: 'stripe', STRIPE_SECRET_KEY: 'sk_test_12345678' }));
  loadConfig(recording({ DATABASE_URL: 'postgres://user:password@host:5432/database' }));
  return [...read].toSorted();
}
