import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import fc, { type Arbitrary } from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { API_KEY, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { nastyBody, nastyId, nastyQuery, nastyString } from '../support/hostile-values.js';
import { SANDBOX_SECRET } from '../support/notifications.js';
import { newSeed } from '../support/seeded-random.js';
import { TestApp } from '../support/test-app.js';
import { createEndpoint, Receiver } from '../support/webhooks.js';

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

interface Hostile {
  method: string;
  /** The path as it is sent. */
  path: string;
  /** The path in the OpenAPI document; undefined if the path may lead to any route. */
  template?: string;
  body?: Buffer | string | undefined;
  headers?: Record<string, string>;
}

const RUNS = Number(process.env['HOSTILE_RUNS'] ?? 75);

describe('hostile input', () => {
  const seed = newSeed('HOSTILE_SEED');
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  let service: TestApp;
  let receiver: Receiver;
  let port: number;
  let endpointId: string;
  let deliveryId: string;
  let documented: Record<string, Record<string, { responses: Record<string, unknown> }>>;
  let before: unknown;

  beforeAll(async () => {
    process.stdout.write(`HOSTILE_SEED=${seed}\n`);
    service = await TestApp.start();
    receiver = await Receiver.start();
    ({ port } = new URL(await service.app.getUrl()) as unknown as { port: number });
    documented = (await service.get('/openapi.json')).body.paths;
    endpointId = (await createEndpoint(service, { url: receiver.url() })).webhook_endpoint_id;
    await service.post(chargeBody());
    deliveryId = await eventually('a delivery', async () => {
      const { data } = (await service.get(`/v1/webhook-endpoints/${endpointId}/deliveries`)).body;
      return data[0]?.status === 'delivered' && (data[0].webhook_delivery_id as string);
    });
    before = await everything();
  });
  afterAll(async () => {
    agent.destroy();
    await service.stop();
    await receiver.stop();
  });

  /** One hash per table, over all rows, for all our tables and the queue's. */
  async function everything(): Promise<unknown> {
    const tables = await service.evidence.query<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
       WHERE schemaname = 'public' AND tablename NOT IN ('migrations', 'api_keys') OR tablename LIKE 'job%'
       ORDER BY 1`,
    );
    const hashes: Record<string, unknown> = {};
    for (const { name } of tables) {
      const [row] = await service.evidence.query<{ hash: string }>(
        `SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') AS hash FROM ${name} t`,
      );
      hashes[name] = row!.hash;
    }
    return hashes;
  }

  function send({ method, path, body, headers = {} }: Hostile): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = httpRequest(
        {
          host: '127.0.0.1',
          port,
          method,
          path,
          agent,
          headers: {
            authorization: `Bearer ${API_KEY}`,
            'idempotency-key': newKey(),
            ...(body !== undefined && {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(body),
            }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks).toString('utf8'),
            }),
          );
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }

  /** The answer must be a refusal that the OpenAPI document lists, in the shape that it promises. */
  function expectProblem({ method, template }: Hostile, { status, headers, body }: Answer): void {
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    expect(headers['content-type']).toMatch(/^application\/problem\+json(;|$)/);
    expect(headers).not.toHaveProperty('x-injected');
    const problem = JSON.parse(body) as Record<string, unknown>;
    expect(problem).toMatchObject({
      type: expect.stringMatching(/^http:\/\/localhost:\d+\/problems\/[a-z_]+$/),
      title: expect.any(String),
      status,
      detail: expect.any(String),
      code: expect.stringMatching(/^[a-z_]+$/),
      request_id: headers['x-request-id'],
      retry: expect.stringMatching(/^(same_key|new_key|none)$/),
      effect: 'none',
    });
    if (template === undefined) return;
    expect([template, Object.keys(documented[template]![method.toLowerCase()]!.responses)]).toEqual([
      template,
      expect.arrayContaining([String(status)]),
    ]);
  }

  async function refuseAll(hostile: Arbitrary<Hostile>): Promise<void> {
    await fc.assert(
      fc.asyncProperty(hostile, async (request) => expectProblem(request, await send(request))),
      { seed, numRuns: RUNS },
    );
  }

  it.each([
    ['POST', '/v1/webhook-endpoints'],
    ['PATCH', '/v1/webhook-endpoints/{webhook_endpoint_id}'],
    ['POST', '/v1/webhook-endpoints/{webhook_endpoint_id}/rotate-secret'],
    ['POST', '/v1/webhook-endpoints/{webhook_endpoint_id}/resend'],
    ['POST', '/v1/webhook-deliveries/{webhook_delivery_id}/retry'],
    ['POST', '/v1/reversals'],
  ])('in the body of %s %s', async (method, template) => {
    const path = template
      .replace('{webhook_endpoint_id}', endpointId)
      .replace('{webhook_delivery_id}', deliveryId);
    await refuseAll(nastyBody.map((body) => ({ method, path, template, body })));
    expect(await everything()).toEqual(before);
  });

  it.each([
    ['GET', '/v1/webhook-endpoints/{webhook_endpoint_id}', undefined],
    ['PATCH', '/v1/webhook-endpoints/{webhook_endpoint_id}', '{"enabled":true}'],
    ['DELETE', '/v1/webhook-endpoints/{webhook_endpoint_id}', undefined],
    ['POST', '/v1/webhook-endpoints/{webhook_endpoint_id}/rotate-secret', undefined],
    ['POST', '/v1/webhook-endpoints/{webhook_endpoint_id}/resend', '{"created_gte":"2026-01-01T00:00:00Z"}'],
    ['GET', '/v1/webhook-endpoints/{webhook_endpoint_id}/deliveries', undefined],
    ['POST', '/v1/webhook-deliveries/{webhook_delivery_id}/retry', undefined],
    ['GET', '/v1/events/{event_id}', undefined],
    ['GET', '/v1/reversals/{reversal_id}', undefined],
    ['POST', '/v1/gateways/{gateway}/notifications', '{}'],
  ])('in the path of %s %s', async (method, template, body) => {
    await refuseAll(
      nastyId
        // These lead to another route, the list.
        .filter((id) => !['', '.', '..', '%2e%2e'].includes(id))
        .map((id) => ({
          method,
          path: template.replace(/\{\w+\}/, id),
          body,
        })),
    );
    expect(await everything()).toEqual(before);
  });

  it.each([
    '/v1/webhook-endpoints',
    '/v1/webhook-endpoints/{webhook_endpoint_id}/deliveries',
    '/v1/events',
    '/v1/balances',
    '/v1/ledger/entries',
  ])('in the query of GET %s: refused, or a list', async (template) => {
    const path = template.replace('{webhook_endpoint_id}', endpointId);
    await fc.assert(
      fc.asyncProperty(nastyQuery, async (query) => {
        const request = { method: 'GET', path: `${path}?${query}`, template };
        const answer = await send(request);
        const isList = answer.status === 200 && 'data' in JSON.parse(answer.body);
        if (!isList) expectProblem(request, answer);
      }),
      { seed, numRuns: RUNS },
    );
    expect(await everything()).toEqual(before);
  });

  it('in fields that accept any text: refused, or stored as sent', async () => {
    const field = fc.oneof(nastyString, fc.webUrl({ withQueryParameters: true }));
    await fc.assert(
      fc.asyncProperty(field, nastyString, async (path, description) => {
        const url = `http://127.0.0.1:9/${path}`;
        const request = { method: 'POST', path: '/v1/webhook-endpoints', template: '/v1/webhook-endpoints' };
        const answer = await send({ ...request, body: JSON.stringify({ url, description }) });
        if (answer.status !== 201) return expectProblem(request, answer);
        const { webhook_endpoint_id: id, ...made } = JSON.parse(answer.body) as Record<string, string>;
        expect(made).toMatchObject({ url, description });
        // Leave neither the endpoint nor its key behind for the next test.
        await service.evidence.query('DELETE FROM webhook_endpoints WHERE webhook_endpoint_id = $1', [id]);
        await service.evidence.query('DELETE FROM idempotency_keys WHERE resource_id = $1', [id]);
      }),
      { seed, numRuns: RUNS },
    );
  });

  it('in a notification: refused unless signed, and without effect even then', async () => {
    const webhook = new Webhook(SANDBOX_SECRET);
    const template = '/v1/gateways/{gateway}/notifications';
    const path = template.replace('{gateway}', 'sandbox');
    await fc.assert(
      fc.asyncProperty(nastyBody, nastyString, fc.boolean(), async (body, id, isSigned) => {
        const now = new Date();
        const eventId = /^[\x20-\x7e]+$/.test(id) ? id : 'evt';
        const headers = {
          'webhook-id': eventId,
          'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
          'webhook-signature': webhook.sign(eventId, now, isSigned ? body.toString() : 'another'),
        };
        const request = { method: 'POST', path, template, body, headers };
        const answer = await send(request);
        if (!isSigned || answer.status !== 204) expectProblem(request, answer);
      }),
      { seed, numRuns: RUNS },
    );
    expect(await everything()).toEqual(before);
  });
});
