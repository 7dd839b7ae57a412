import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createEdgeApp } from './edge-app.js';

const SHOP = 'https://shop.example';

describe('the security headers', () => {
  let app: NestFastifyApplication;
  afterEach(() => app.close());

  it.each(['/v1/things/1', '/v1/things?limit=0', '/v1/things/%ff', '/nowhere', '/metrics', '/openapi.json'])(
    'of %s allow it to run nothing and to be framed nowhere, because it is data',
    async (url) => {
      ({ app } = await createEdgeApp());
      const { headers } = await app.inject(url);
      expect(headers).toMatchObject({
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
      });
      expect(headers).not.toHaveProperty('access-control-allow-origin');
      expect(headers).not.toHaveProperty('strict-transport-security');
      expect(headers).not.toHaveProperty('x-powered-by');
    },
  );

  it.each(['/docs', '/docs/swagger-ui-init.js', '/problems', '/problems/not_found'])(
    'of %s allow its own scripts and no others',
    async (url) => {
      ({ app } = await createEdgeApp());
      const { headers } = await app.inject(url);
      expect(headers['content-security-policy']).toContain("script-src 'self';");
      expect(headers['content-security-policy']).not.toMatch(/script-src[^;]*unsafe/);
    },
  );

  it('do not break the Swagger UI, because its page has no inline script', async () => {
    ({ app } = await createEdgeApp());
    const { body } = await app.inject('/docs');
    const inline = [...body.matchAll(/<script([^>]*)>([^<]*)</g)].filter(
      ([, attributes = '', code = '']) => !attributes.includes('src=') || code.trim() !== '',
    );
    expect(inline).toEqual([]);
    expect(body).not.toMatch(/\son[a-z]+=/);
  });

  it('require TLS if the public URL uses it', async () => {
    ({ app } = await createEdgeApp({ PUBLIC_URL: 'https://pay.example' }));
    expect((await app.inject('/nowhere')).headers['strict-transport-security']).toBe('max-age=31536000');
  });
});

describe('CORS', () => {
  let app: NestFastifyApplication;
  afterEach(() => app.close());

  const preflight = (origin: string) =>
    app.inject({
      method: 'OPTIONS',
      url: '/v1/things',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type,idempotency-key,prefer',
      },
    });

  it('is off unless configured', async () => {
    ({ app } = await createEdgeApp());
    const answer = await preflight(SHOP);
    expect(answer.statusCode).toBe(404);
    expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  it('allows the configured origins to send the headers that a payment needs', async () => {
    ({ app } = await createEdgeApp({ CORS_ORIGINS: `https://other.example, ${SHOP}` }));
    const { statusCode, headers } = await preflight(SHOP);
    expect(statusCode).toBe(204);
    expect(headers['access-control-allow-origin']).toBe(SHOP);
    expect(headers['vary']).toContain('Origin');
    const allowed = String(headers['access-control-allow-headers']).toLowerCase().split(', ');
    for (const name of ['authorization', 'content-type', 'idempotency-key', 'prefer']) {
      expect(allowed).toContain(name);
    }
    expect(headers).not.toHaveProperty('access-control-allow-credentials');
  });

  it.each(['/v1/things/1', '/v1/things?limit=0'])(
    'allows them to read the headers that a retry needs from %s',
    async (url) => {
      ({ app } = await createEdgeApp({ CORS_ORIGINS: SHOP }));
      const { headers } = await app.inject({ url, headers: { origin: SHOP } });
      expect(headers['access-control-allow-origin']).toBe(SHOP);
      expect(headers['access-control-expose-headers']).toBe(
        'Idempotency-Key, Idempotent-Replayed, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, ' +
          'Retry-After, WWW-Authenticate, X-Request-Id',
      );
    },
  );

  it.each(['https://evil.example', 'http://shop.example', 'https://shop.example.evil.example', 'null'])(
    'does not allow the origin %s',
    async (origin) => {
      ({ app } = await createEdgeApp({ CORS_ORIGINS: SHOP }));
      expect((await preflight(origin)).headers).not.toHaveProperty('access-control-allow-origin');
      const answer = await app.inject({ url: '/v1/things/1', headers: { origin } });
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin');
    },
  );

  it('accepts requests without an Origin header', async () => {
    ({ app } = await createEdgeApp({ CORS_ORIGINS: SHOP }));
    expect((await app.inject('/v1/things/1')).statusCode).toBe(200);
    expect((await app.inject({ method: 'OPTIONS', url: '/v1/things' })).statusCode).toBe(204);
  });

  it('allows every origin if configured so', async () => {
    ({ app } = await createEdgeApp({ CORS_ORIGINS: '*' }));
    expect((await preflight('https://any.example')).headers['access-control-allow-origin']).toBe('*');
  });
});
