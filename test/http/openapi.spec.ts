import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { createEdgeApp } from './edge-app.js';

describe('the OpenAPI document', () => {
  let app: NestFastifyApplication;

  beforeAll(async () => {
    ({ app } = await createEdgeApp({ PUBLIC_URL: 'https://pay.test', SANDBOX_API_KEY: 'sk_sandbox_docs' }));
  });
  afterAll(() => app.close());

  it('is served as OpenAPI 3.1, without an API key', async () => {
    const document = (await app.inject('/openapi.json')).json();
    expect(document.openapi).toBe('3.1.0');
    expect(document.components.securitySchemes.api_key).toMatchObject({ type: 'http', scheme: 'bearer' });
    expect(document.components.securitySchemes.api_key.description).toContain('sk_sandbox_docs');
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/v1/things', '/problems/{code}', '/metrics']),
    );
  });

  it('groups problems by status, with an example per code that is what the service answers', async () => {
    const { responses } = (await app.inject('/openapi.json')).json().paths['/v1/things'].post;
    const declined = responses['402'].content['application/problem+json'];
    expect(Object.keys(declined.examples)).toEqual(['card_declined', 'insufficient_funds']);
    expect(declined.examples.card_declined.value).toMatchObject({
      type: 'https://pay.test/problems/card_declined',
      status: 402,
      retry: 'new_key',
    });
    expect(declined.schema).toEqual({ $ref: '#/components/schemas/ProblemDto' });
    expect(responses['503'].headers).toHaveProperty('Retry-After');
  });

  it('states the headers of a keyed route', async () => {
    const { parameters } = (await app.inject('/openapi.json')).json().paths['/v1/things'].post;
    expect(parameters).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          name: 'Idempotency-Key',
          in: 'header',
          required: true,
          schema: expect.objectContaining({ example: '"try-out-1-charge"' }),
        }),
        expect.objectContaining({ name: 'Prefer', in: 'header', required: false }),
      ]),
    );
  });

  it('requires an API key everywhere except on public routes', async () => {
    const document = (await app.inject('/openapi.json')).json();
    expect(document.security).toEqual([{ api_key: [] }]);
    expect(document.paths['/metrics'].get.security).toEqual([{}]);
    expect(document.paths['/problems/{code}'].get.security).toEqual([{}]);
  });

  it('comes with a Swagger UI whose files are all served', async () => {
    const page = await app.inject('/docs');
    expect(page.statusCode).toBe(200);
    const files = [...page.body.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, path]) => `/${path}`);
    expect(files.length).toBeGreaterThan(3);
    for (const file of files) expect([file, (await app.inject(file)).statusCode]).toEqual([file, 200]);
  });
});
