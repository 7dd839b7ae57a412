import { setTimeout as sleep } from 'node:timers/promises';
import { AUTOMATIC, post } from '../support/api.js';
import { newKey } from '../support/client.js';
import { expectVerified } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';

const WINDOW_MS = 1_500;

describe('requests without a key', () => {
  let fleet: ServiceFleet;
  let services: [ServiceProcess, ServiceProcess];

  beforeAll(async () => {
    fleet = await ServiceFleet.create({
      IDEMPOTENCY_MISSING_KEY: 'derive',
      IDEMPOTENCY_DERIVED_WINDOW: `${WINDOW_MS}ms`,
    });
    services = await Promise.all([fleet.start(), fleet.start()]);
  });
  afterEach(() => expectVerified(fleet.evidence));
  afterAll(() => fleet.end());

  const send = (index: number, body: object) =>
    post(services[index % 2]!, '/v1/payments', { key: null, body, headers: { prefer: 'wait=10' } });
  const unique = (): object => ({ ...AUTOMATIC, description: newKey() });

  it('20 at the same moment over two processes make one payment, under one key that every answer names', async () => {
    const body = unique();
    const replies = await Promise.all(Array.from({ length: 20 }, (_, index) => send(index, body)));
    expect(new Set(replies.map((reply) => reply.body)).size).toBe(1);
    const keys = new Set(replies.map((reply) => reply.headers.get('idempotency-key')));
    expect([...keys]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
  });

  it('anywhere within the window they are one payment; after it they are two', async () => {
    const body = unique();
    const first = await send(0, body);
    const startedAt = Date.now();
    for (const part of [0.3, 0.6, 0.85]) {
      await sleep(startedAt + part * WINDOW_MS - Date.now());
      expect((await send(1, body)).json['transaction_id']).toBe(first.json['transaction_id']);
    }
    await sleep(startedAt + WINDOW_MS + 200 - Date.now());
    const later = await send(0, body);
    expect(later.status).toBe(201);
    expect(later.json['transaction_id']).not.toBe(first.json['transaction_id']);
    expect(later.headers.get('idempotency-key')).not.toBe(first.headers.get('idempotency-key'));
  });

  it('requests that differ in any parameter, the user included, are different payments', async () => {
    const body = unique();
    const bodies = [
      body,
      { ...body, amount: 1001 },
      { ...body, user_id: '6f1f1d1e-0000-4000-8000-000000000001' },
      { ...body, user_id: '6f1f1d1e-0000-4000-8000-000000000002' },
    ];
    const replies = await Promise.all(bodies.map((each, index) => send(index, each)));
    expect(new Set(replies.map((reply) => reply.json['transaction_id'])).size).toBe(bodies.length);
  });

  it("a client's own key still counts, and the answer does not name another", async () => {
    const reply = await post(services[0], '/v1/payments', { key: newKey(), body: unique() });
    expect(reply.status).toBe(201);
    expect(reply.headers.has('idempotency-key')).toBe(false);
  });
});
