import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { createSandboxGatewayServer } from '../../src/gateways/sandbox/sandbox-gateway.server.js';
import { createSandbox, type SandboxFixture } from './sandbox-fixture.js';

const MANY = 2_500;

describe("the sandbox gateway's own wire", () => {
  let sandbox: SandboxFixture;
  let server: FastifyInstance;

  beforeEach(async () => {
    sandbox = await createSandbox();
    server = createSandboxGatewayServer(sandbox.engine);
  });
  afterEach(async () => {
    await server.close();
    await sandbox.remove();
  });

  const post = (
    url: string,
    payload: object,
    headers: Record<string, string> = {},
  ): Promise<LightMyRequestResponse> => server.inject({ method: 'POST', url, payload, headers });
  const charge = (key: string, change: object = {}, headers = {}): Promise<LightMyRequestResponse> =>
    post(
      '/charges',
      {
        transaction_id: `tx-${key}`,
        amount: 1_999,
        currency: 'EUR',
        payment_method: 'pm_card_visa',
        capture_method: 'automatic',
        ...change,
      },
      { 'idempotency-key': key, ...headers },
    );

  it('lists every effect and nothing else', async () => {
    const first = (await charge('k1', { capture_method: 'manual' })).json<{ reference: string }>();
    await charge('k2', { payment_method: 'pm_card_declined' });
    await charge('k3', { payment_method: 'pm_gateway_unavailable' });
    await post(
      `/charges/${first.reference}/capture`,
      { transaction_id: 'tx-k1', amount: 1_500, currency: 'EUR' },
      { 'idempotency-key': 'k4' },
    );
    await post(
      `/charges/${first.reference}/refunds`,
      { transaction_id: 'tx-k1', refund_id: 're-1', amount: 500, currency: 'EUR' },
      { 'idempotency-key': 'k5' },
    );
    await post('/calls/k6/resolve', {});
    await charge('k7', { transaction_id: undefined });
    const { data } = (await server.inject('/books')).json<{ data: Record<string, unknown>[] }>();
    expect(data).toEqual([
      {
        kind: 'authorization',
        reference: first.reference,
        charge_reference: null,
        charge_idempotency_key: 'k1',
        idempotency_key: 'k1',
        amount: 1_999,
        currency: 'EUR',
        at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        transaction_id: 'tx-k1',
        refund_id: null,
        payment_method: 'pm_card_visa',
      },
      expect.objectContaining({
        kind: 'capture',
        charge_reference: first.reference,
        charge_idempotency_key: 'k1',
        idempotency_key: 'k4',
        amount: 1_500,
        transaction_id: 'tx-k1',
      }),
      expect.objectContaining({ kind: 'refund', refund_id: 're-1', idempotency_key: 'k5', amount: 500 }),
      expect.objectContaining({
        kind: 'charge',
        idempotency_key: 'k7',
        transaction_id: null,
        refund_id: null,
      }),
    ]);
  });

  it('lists thousands of effects in one document, or page by page', async () => {
    for (let n = 1; n <= MANY; n += 1) {
      sandbox.engine.books.record(
        {
          gatewayKey: `k${n}`,
          kind: 'charge',
          transactionId: `tx${n}`,
          refundId: null,
          chargeReference: null,
          amountMinor: BigInt(n),
          currency: 'EUR',
          paymentMethod: 'pm_card_visa',
        },
        null,
        null,
      );
    }
    const keys = Array.from({ length: MANY }, (_, index) => `k${index + 1}`);
    const all = (await server.inject('/books')).json<Page>();
    expect(all.data.map((effect) => effect.idempotency_key)).toEqual(keys);
    expect(all.next_after).toBeNull();

    const paged: string[] = [];
    for (let after: number | null = 0; after !== null;) {
      const page: Page = (await server.inject(`/books?limit=1000&after=${after}`)).json<Page>();
      paged.push(...page.data.map((effect) => effect.idempotency_key));
      after = page.next_after;
    }
    expect(paged).toEqual(keys);
    expect((await server.inject('/books?limit=0')).statusCode).toBe(400);
  });

  it('refuses a different request under a used key, and still repeats the first answer', async () => {
    const first = await charge('k1');
    expect(first.statusCode).toBe(200);
    const second = await charge('k1', { amount: 2_000 });
    expect(second.statusCode).toBe(422);
    expect(second.json()).toMatchObject({ error: { code: 'key_reused', effect: 'none' } });
    expect((await charge('k1')).body).toBe(first.body);
  });

  it('looks up by key, payment and reference without changing anything', async () => {
    const { reference } = (await charge('k1')).json<{ reference: string }>();
    for (const url of ['/calls/k1', `/charges/${reference}`]) {
      expect((await server.inject(url)).json()).toMatchObject({
        reference,
        status: 'approved',
        idempotency_key: 'k1',
      });
    }
    for (const query of [
      'transaction_id=tx-k1',
      'charge_idempotency_key=k1',
      `charge_reference=${reference}`,
    ]) {
      expect((await server.inject(`/calls?${query}`)).json()).toMatchObject({ data: [{ reference }] });
    }
    expect(
      (await server.inject('/calls?charge_idempotency_key=k1&charge_idempotency_key=k2')).statusCode,
    ).toBe(400);
    expect((await server.inject('/calls/k2')).statusCode).toBe(404);
    expect((await charge('k2')).statusCode).toBe(200);
  });

  it('refuses a key for good after resolving it as absent', async () => {
    expect((await post('/calls/k1/resolve', {})).json()).toEqual({ status: 'absent' });
    const late = await charge('k1');
    expect(late.statusCode).toBe(410);
    expect(late.json()).toMatchObject({ error: { code: 'key_closed', effect: 'none' } });
  });

  it('plays a script for all calls, or for the one call that carries it', async () => {
    const own = { 'sandbox-script': JSON.stringify({ faults: { error_after: 1 } }) };
    expect((await charge('k1', {}, own)).statusCode).toBe(500);
    expect((await charge('k1')).statusCode).toBe(200);

    await post('/script', { seed: 1, next: 1, faults: { refuse: 1 } });
    expect((await charge('k2')).statusCode).toBe(503);
    expect((await server.inject('/script')).json()).toMatchObject({
      script: { seed: 1, next: 1 },
      seen: { calls: 1 },
    });
    expect((await charge('k2')).statusCode).toBe(200);
    await server.inject({ method: 'DELETE', url: '/script' });
    expect((await server.inject('/script')).json()).toEqual({ script: null, seen: null });

    expect((await post('/script', { faults: { refuse: 7 } })).statusCode).toBe(400);
    expect((await charge('k3', {}, { 'sandbox-script': '{' })).statusCode).toBe(400);
  });

  it.each([
    ['no key', {}, { 'idempotency-key': '' }],
    ['a wrong amount', { amount: 0 }, {}],
    ['an amount as text', { amount: '1999' }, {}],
    ['an unknown field', { surprise: true }, {}],
  ])('refuses %s before it acts', async (_, change, headers) => {
    const answer = await charge('k1', change, headers);
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({ error: { effect: 'none' } });
    expect(sandbox.engine.books.effects()).toEqual([]);
  });
});

interface Page {
  data: { idempotency_key: string }[];
  next_after: number | null;
}
