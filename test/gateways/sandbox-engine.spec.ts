import type { FastifyInstance } from 'fastify';
import type { CancelRequest, Gateway } from '../../src/gateways/gateway.js';
import { createSandboxGatewayServer } from '../../src/gateways/sandbox/sandbox-gateway.server.js';
import { SandboxHttpGateway } from '../../src/gateways/sandbox/sandbox-http.gateway.js';
import { SandboxGateway } from '../../src/gateways/sandbox/sandbox.gateway.js';
import {
  captureRequest,
  chargeRequest,
  createSandbox,
  sent,
  patience,
  refundRequest,
  script,
  type SandboxFixture,
} from './sandbox-fixture.js';

const PATIENCE_MS = 150;
const UNKNOWN = { kind: 'unknown' };
const UNAVAILABLE = { kind: 'unavailable' };
const ABSENT = { kind: 'absent' };
const KEY_TAKEN = { kind: 'unknown', keyTaken: true };
const LOST = { since: new Date(0), until: new Date() };

/** The port behaves the same, whether the provider is in this process or behind HTTP. */
describe.each(['in process', 'by HTTP'])('the sandbox gateway %s', (way) => {
  let sandbox: SandboxFixture;
  let server: FastifyInstance | null = null;
  let gateway: Gateway;

  beforeAll(async () => {
    sandbox = await createSandbox();
    if (way === 'in process') {
      gateway = new SandboxGateway(sandbox.engine);
      return;
    }
    server = createSandboxGatewayServer(sandbox.engine);
    gateway = new SandboxHttpGateway(await server.listen({ port: 0, host: '127.0.0.1' }));
  });
  afterEach(() => sandbox.engine.play(null));
  afterAll(async () => {
    await server?.close();
    await sandbox.remove();
  });

  const effectsOf = (chargeKey: string): string[] =>
    sandbox.engine.books
      .effects()
      .filter((effect) => effect.chargeKey === chargeKey)
      .map((effect) => effect.kind);

  it('approves, and records the requested effect in its books', async () => {
    const request = chargeRequest();
    const outcome = await gateway.charge(request, patience(1_000));
    expect(outcome).toEqual({ kind: 'approved', reference: expect.stringMatching(/^sbx_[0-9a-f]{8}_\d+$/) });
    const { gatewayKey, amountMinor, currency, paymentMethod } = request;
    expect(sandbox.engine.books.effects().at(-1)).toMatchObject({
      gatewayKey,
      amountMinor,
      currency,
      paymentMethod,
      transactionId: null,
      ...(outcome.kind === 'approved' && { reference: outcome.reference }),
      kind: 'charge',
    });
    expect(await gateway.inquire(sent(request), new Date(), patience(1_000))).toEqual(outcome);
  });

  it('authorizes, captures, voids and refunds, each under its own reference', async () => {
    const request = chargeRequest('pm_card_visa', { captureMethod: 'manual' });
    const authorized = await approved(gateway.charge(request, patience(1_000)));
    const captured = await approved(gateway.capture(captureRequest(request, authorized), patience(1_000)));
    const refunded = await approved(gateway.refund(refundRequest(request, authorized), patience(1_000)));
    expect(new Set([authorized, captured, refunded]).size).toBe(3);
    expect(effectsOf(request.gatewayKey)).toEqual(['authorization', 'capture', 'refund']);

    const other = chargeRequest('pm_card_visa', { captureMethod: 'manual' });
    const reference = await approved(gateway.charge(other, patience(1_000)));
    await approved(gateway.cancel(captureRequest(other, reference), patience(1_000)));
    expect(effectsOf(other.gatewayKey)).toEqual(['authorization', 'void']);
    expect(sandbox.engine.books.effects().at(-1)).toMatchObject({
      kind: 'void',
      amountMinor: other.amountMinor,
    });
  });

  it.each([
    ['pm_card_declined', 'card_declined'],
    ['pm_card_insufficient_funds', 'insufficient_funds'],
    ['pm_card_expired', 'expired_card'],
    ['pm_of_nobody', 'invalid_payment_method'],
  ])('declines %s for good, without an effect, and remembers it', async (method, code) => {
    const request = chargeRequest(method);
    const outcome = await gateway.charge(request, patience(1_000));
    expect(outcome).toMatchObject({ kind: 'declined', failure: { code } });
    expect(await gateway.charge(request, patience(1_000))).toEqual(outcome);
    expect(await gateway.inquire(sent(request), new Date(), patience(1_000))).toEqual(outcome);
    expect(effectsOf(request.gatewayKey)).toEqual([]);
  });

  it('declines a refund to a card without refunds, and any call on a charge that it does not know', async () => {
    const request = chargeRequest('pm_card_refund_declined');
    const reference = await approved(gateway.charge(request, patience(1_000)));
    expect(await gateway.refund(refundRequest(request, reference), patience(1_000))).toMatchObject({
      failure: { code: 'refund_declined' },
    });
    for (const unknown of ['sbx_00000000_1', 'sbx_of_nobody', '']) {
      if (unknown === '' && way === 'by HTTP') continue;
      expect(await gateway.capture(captureRequest(request, unknown), patience(1_000))).toMatchObject({
        kind: 'declined',
      });
    }
    expect(effectsOf(request.gatewayKey)).toEqual(['charge']);
  });

  it('answers pm_gateway_slow after three seconds, and unknown to a client that waits less', async () => {
    const patient = chargeRequest('pm_gateway_slow');
    const hasty = chargeRequest('pm_gateway_slow');
    const startedAt = performance.now();
    const [slow, lost] = await Promise.all([
      gateway.charge(patient, patience(5_000)),
      gateway.charge(hasty, patience(PATIENCE_MS)),
    ]);
    expect(slow.kind).toBe('approved');
    expect(performance.now() - startedAt).toBeGreaterThan(2_900);
    expect(lost).toEqual(UNKNOWN);
    expect(effectsOf(hasty.gatewayKey)).toEqual(['charge']);
  });

  it('always refuses pm_gateway_unavailable, and pm_gateway_flaky once, before any effect', async () => {
    const unavailable = chargeRequest('pm_gateway_unavailable');
    const flaky = chargeRequest('pm_gateway_flaky');
    expect(await gateway.charge(unavailable, patience(1_000))).toEqual(UNAVAILABLE);
    expect(await gateway.charge(unavailable, patience(1_000))).toEqual(UNAVAILABLE);
    expect(await gateway.charge(flaky, patience(1_000))).toEqual(UNAVAILABLE);
    expect(effectsOf(flaky.gatewayKey)).toEqual([]);
    expect((await gateway.charge(flaky, patience(1_000))).kind).toBe('approved');
    expect(effectsOf(flaky.gatewayKey)).toEqual(['charge']);
    expect(effectsOf(unavailable.gatewayKey)).toEqual([]);
  });

  it.each(['pm_gateway_timeout_after_charge', 'pm_gateway_error_after_charge'])(
    'takes the money once for %s without saying so, and an inquiry finds it',
    async (method) => {
      const request = chargeRequest(method);
      expect(await gateway.charge(request, patience(PATIENCE_MS))).toEqual(UNKNOWN);
      expect(await gateway.charge(request, patience(PATIENCE_MS))).toEqual(UNKNOWN);
      expect(effectsOf(request.gatewayKey)).toEqual(['charge']);
      expect((await gateway.inquire(sent(request), new Date(), patience(1_000))).kind).toBe('approved');
    },
  );

  it('takes nothing for pm_gateway_timeout_before_charge and never answers, and an inquiry says absent', async () => {
    const request = chargeRequest('pm_gateway_timeout_before_charge');
    expect(await gateway.charge(request, patience(PATIENCE_MS))).toEqual(UNKNOWN);
    expect(await gateway.inquire(sent(request), new Date(), patience(1_000))).toEqual(ABSENT);
    expect(effectsOf(request.gatewayKey)).toEqual([]);
  });

  it('acts once for any number of calls under one key, concurrent or later', async () => {
    const request = chargeRequest();
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => gateway.charge(request, patience(2_000))),
    );
    outcomes.push(await gateway.charge(request, patience(1_000)));
    expect(new Set(outcomes.map((outcome) => JSON.stringify(outcome))).size).toBe(1);
    expect(effectsOf(request.gatewayKey)).toEqual(['charge']);
  });

  it.each([
    ['amount', { amountMinor: 2_000n }],
    ['currency', { currency: 'USD' }],
    ['method', { paymentMethod: 'pm_card_refund_declined' }],
    ['capture', { captureMethod: 'manual' }],
  ] as const)('never believes a key that it has with another %s to be absent', async (_, change) => {
    const request = chargeRequest();
    const outcome = await gateway.charge(request, patience(1_000));
    const other = { ...request, ...change };
    expect(await gateway.charge(other, patience(1_000))).toEqual(KEY_TAKEN);
    expect(await gateway.inquire(sent(other), new Date(), patience(1_000))).toEqual(KEY_TAKEN);
    expect(await gateway.lookUp(sent(other), LOST, patience(1_000))).toEqual(KEY_TAKEN);
    expect(await gateway.charge(request, patience(1_000))).toEqual(outcome);
    expect(effectsOf(request.gatewayKey)).toEqual(['charge']);
  });

  it('adopts what it has under a key for the same money, whatever ids were sent with it', async () => {
    const first = (transactionId: string, refundId: string | null = null) => ({
      ids: { transactionId, refundId },
    });
    const request = chargeRequest('pm_card_visa', { captureMethod: 'manual', ...first('t1') });
    const outcome = await gateway.charge(request, patience(1_000));
    expect(await gateway.charge({ ...request, ...first('t2') }, patience(1_000))).toEqual(outcome);
    expect(await gateway.charge({ ...request, ids: null }, patience(1_000))).toEqual(outcome);
    const reference = outcome.kind === 'approved' ? outcome.reference : '';
    const calls = {
      capture: captureRequest(request, reference),
      cancel: captureRequest(request, reference),
      refund: { ...refundRequest(request, reference), ...first('t1', 'r1') },
    };
    for (const kind of ['capture', 'cancel', 'refund'] as const) {
      const done = await gateway[kind](calls[kind], patience(1_000));
      expect(done.kind).toBe('approved');
      expect(await gateway[kind]({ ...calls[kind], ids: null }, patience(1_000))).toEqual(done);
    }
    expect(effectsOf(request.gatewayKey)).toEqual(['authorization', 'capture', 'void', 'refund']);
  });

  it('does not adopt a later call on another charge, or of another kind', async () => {
    const request = chargeRequest('pm_card_visa', { captureMethod: 'manual' });
    const reference = await approved(gateway.charge(request, patience(1_000)));
    const other = await approved(gateway.charge(chargeRequest(), patience(1_000)));
    const capture = captureRequest(request, reference);
    await approved(gateway.capture(capture, patience(1_000)));
    const elsewhere: CancelRequest = { ...capture, reference: other };
    expect(await gateway.capture({ ...capture, reference: other }, patience(1_000))).toEqual(KEY_TAKEN);
    expect(await gateway.refund(capture, patience(1_000))).toEqual(KEY_TAKEN);
    expect(await gateway.cancel(elsewhere, patience(1_000))).toEqual(KEY_TAKEN);
  });

  it('looks up a call without closing its key', async () => {
    const request = chargeRequest();
    expect(await gateway.lookUp(sent(request), LOST, patience(1_000))).toEqual(ABSENT);
    const outcome = await gateway.charge(request, patience(1_000));
    expect(outcome.kind).toBe('approved');
    expect(await gateway.lookUp(sent(request), LOST, patience(1_000))).toEqual(outcome);
  });

  it('refuses the first call with a key that it reported absent', async () => {
    const request = chargeRequest();
    expect(await gateway.inquire(sent(request), new Date(), patience(1_000))).toEqual(ABSENT);
    expect(await gateway.charge(request, patience(1_000))).toEqual(UNAVAILABLE);
    expect(await gateway.inquire(sent(request), new Date(), patience(1_000))).toEqual(ABSENT);
    expect(effectsOf(request.gatewayKey)).toEqual([]);
  });

  it('refuses a delayed call that arrives after it was reported absent', async () => {
    sandbox.engine.play(script({ arrival_ms: 300 }));
    const request = chargeRequest();
    expect(await gateway.charge(request, patience(PATIENCE_MS))).toEqual(UNKNOWN);
    expect(await gateway.inquire(sent(request), new Date(), patience(1_000))).toEqual(ABSENT);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(effectsOf(request.gatewayKey)).toEqual([]);
  });

  it('still acts on a call that its client has given up', async () => {
    sandbox.engine.play(script({ arrival_ms: 300 }));
    const request = chargeRequest();
    expect(await gateway.charge(request, patience(PATIENCE_MS))).toEqual(UNKNOWN);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(effectsOf(request.gatewayKey)).toEqual(['charge']);
    expect((await gateway.inquire(sent(request), new Date(), patience(1_000))).kind).toBe('approved');
  });

  it.each([
    ['refuse', UNAVAILABLE, false],
    ['error_before', UNKNOWN, false],
    ['error_after', UNKNOWN, true],
    ['silence_before', UNKNOWN, false],
    ['silence_after', UNKNOWN, true],
    ['reset_before', UNKNOWN, false],
    ['reset_after', UNKNOWN, true],
  ])('also plays the fault %s on captures, voids and refunds', async (fault, expected, hasEffect) => {
    const request = chargeRequest('pm_card_visa', { captureMethod: 'manual' });
    const reference = await approved(gateway.charge(request, patience(1_000)));
    sandbox.engine.play(script({ calls: ['capture', 'void', 'refund'], faults: { [fault]: 1 } }));
    const outcomes = await Promise.all([
      gateway.capture(captureRequest(request, reference), patience(PATIENCE_MS)),
      gateway.cancel(captureRequest(request, reference), patience(PATIENCE_MS)),
      gateway.refund(refundRequest(request, reference), patience(PATIENCE_MS)),
    ]);
    expect(outcomes).toEqual([expected, expected, expected]);
    const effects = ['authorization', ...(hasEffect ? ['capture', 'void', 'refund'] : [])];
    expect(effectsOf(request.gatewayKey).toSorted()).toEqual(effects.toSorted());
  });

  it.each(['refuse', 'error', 'silence', 'reset'])(
    'says unknown, never absent, when an inquiry or a lookup meets %s',
    async (fault) => {
      const request = chargeRequest();
      const outcome = await gateway.charge(request, patience(1_000));
      sandbox.engine.play(script({ lookups: { faults: { [fault]: 1 } } }));
      expect(await gateway.lookUp(sent(request), LOST, patience(PATIENCE_MS))).toEqual(UNKNOWN);
      expect(await gateway.inquire(sent(request), new Date(), patience(PATIENCE_MS))).toEqual(UNKNOWN);
      sandbox.engine.play(null);
      expect(await gateway.inquire(sent(request), new Date(), patience(1_000))).toEqual(outcome);
    },
  );

  it('does not act for a caller that gave up before it asked', async () => {
    const request = chargeRequest();
    expect(await gateway.charge(request, AbortSignal.abort())).toEqual(UNAVAILABLE);
    expect(effectsOf(request.gatewayKey)).toEqual([]);
  });
});

describe('the books of the sandbox gateway', () => {
  it('let only one of two processes act for a key', async () => {
    const sandbox = await createSandbox();
    const other = sandbox.reopen();
    const { captureMethod: _, ids: _ids, sentSince: _since, ...rest } = chargeRequest();
    const ids = { transactionId: null, refundId: null };
    const effect = { ...rest, ...ids, kind: 'charge', chargeReference: null } as const;
    const first = sandbox.engine.books.record(effect, null, null);
    expect(other.record(effect, null, null)).toEqual({ ...first, isNew: false });
    expect(other.record({ ...effect, amountMinor: 1n }, null, null)).toEqual({ kind: 'reused' });
    expect(other.findOrClose('never-sent')).toBeNull();
    expect(sandbox.engine.books.record({ ...effect, gatewayKey: 'never-sent' }, null, null)).toEqual({
      kind: 'closed',
    });
    other.close();
    await sandbox.remove();
  });
});

async function approved(outcome: Promise<{ kind: string; reference?: string }>): Promise<string> {
  const { kind, reference } = await outcome;
  expect(kind).toBe('approved');
  return reference ?? '';
}
