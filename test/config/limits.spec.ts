import { ConfigError, loadConfig } from '../../src/config/load-config.js';

const LIVE = { DATABASE_URL: 'postgres://u@db/hapax', SANDBOX: 'false' };

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
  }
  return [];
}

describe('RATE_LIMIT', () => {
  it.each([
    [{}, null],
    [LIVE, { requests: 1_000, windowSeconds: 1 }],
    [{ RATE_LIMIT: '5/s' }, { requests: 5, windowSeconds: 1 }],
    [
      { ...LIVE, RATE_LIMIT: '100/m' },
      { requests: 100, windowSeconds: 60 },
    ],
    [
      { ...LIVE, RATE_LIMIT: '5000/h' },
      { requests: 5_000, windowSeconds: 3_600 },
    ],
    [{ ...LIVE, RATE_LIMIT: 'off' }, null],
    [
      { ...LIVE, RATE_LIMIT: '' },
      { requests: 1_000, windowSeconds: 1 },
    ],
  ])('is read from %j as %j', (env, rateLimit) => expect(loadConfig(env)).toMatchObject({ rateLimit }));

  it.each(['1000', '0/s', '-1/s', '1/d', '1/10s', '1.5/s', 'on', '1000/S', '9999999999/s'])(
    'refuses %s',
    (value) => {
      expect(problemsOf({ RATE_LIMIT: value })).toEqual([
        `RATE_LIMIT must be a number of requests a second, minute or hour, such as 1000/s, 600/m or 5000/h, or off, not "${value}"`,
      ]);
    },
  );
});

describe('CORS_ORIGINS', () => {
  it.each([
    ['', []],
    ['https://shop.example', ['https://shop.example']],
    [' https://a.example ,http://localhost:8080, ', ['https://a.example', 'http://localhost:8080']],
    ['*', ['*']],
  ])('reads %p as %p', (value, corsOrigins) =>
    expect(loadConfig({ CORS_ORIGINS: value })).toMatchObject({ corsOrigins }),
  );

  it.each([
    'shop.example',
    'https://shop.example/',
    'https://shop.example/x',
    'https://Shop.example',
    'null',
    'ftp://x',
  ])('refuses %s', (value) => {
    const [problem] = problemsOf({ CORS_ORIGINS: `https://a.example,${value}` });
    expect(problem).toContain(`CORS_ORIGINS must be a list of origins`);
    expect(problem).toContain(`not "${value}"`);
  });
});

describe('TRUSTED_PROXIES', () => {
  it.each([
    ['', []],
    ['10.0.0.0/8, 192.0.2.1,2001:db8::/32', ['10.0.0.0/8', '192.0.2.1', '2001:db8::/32']],
  ])('reads %p as %p', (value, trustedProxies) =>
    expect(loadConfig({ TRUSTED_PROXIES: value })).toMatchObject({ trustedProxies }),
  );

  it.each(['proxy', '10.0.0.0/33', '10.0.0/8', '10.0.0.0/8/8', 'true', '::/129', '10.0.0.1/'])(
    'refuses %s',
    (value) =>
      expect(problemsOf({ TRUSTED_PROXIES: value })[0]).toContain(
        'TRUSTED_PROXIES must be a list of addresses',
      ),
  );
});
