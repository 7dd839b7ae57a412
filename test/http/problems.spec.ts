import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { PROBLEMS } from '../../src/http/problem-table.js';
import { createEdgeApp } from './edge-app.js';

describe('the pages about problem types', () => {
  let app: NestFastifyApplication;

  beforeAll(async () => {
    ({ app } = await createEdgeApp({ PUBLIC_URL: 'https://pay.test' }));
  });
  afterAll(() => app.close());

  it.each(Object.keys(PROBLEMS))('are served for %s as HTML and as JSON', async (code) => {
    const page = await app.inject({ url: `/problems/${code}`, headers: { accept: 'text/html,*/*;q=0.8' } });
    expect(page.statusCode).toBe(200);
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.body).toContain(`<code>${code}</code>`);
    const document = await app.inject({ url: `/problems/${code}`, headers: { accept: 'application/json' } });
    expect(document.json()).toMatchObject({ code, type: `https://pay.test/problems/${code}` });
  });

  it('list all problem types', async () => {
    const page = await app.inject('/problems');
    for (const code of Object.keys(PROBLEMS)) expect(page.body).toContain(`href="problems/${code}"`);
    const document = await app.inject({ url: '/problems', headers: { accept: 'application/json' } });
    expect(document.json().data).toHaveLength(Object.keys(PROBLEMS).length);
  });

  it.each(['nothing', 'constructor', '__proto__', '%3Cscript%3E'])(
    'answer 404 for the unknown code %s',
    async (code) => {
      const answer = await app.inject(`/problems/${code}`);
      expect([answer.statusCode, answer.json().code]).toEqual([404, 'not_found']);
      expect(answer.body).not.toContain('script');
    },
  );
});
