import { randomUUID } from 'node:crypto';
import type { GatewayEffect, TimeRange } from '../../src/gateways/gateway-books.js';
import { StripeBooks } from '../../src/gateways/stripe/stripe.books.js';
import { fromStripeAmount, toStripeAmount } from '../../src/gateways/stripe/stripe-amounts.js';
import { StripeGateway } from '../../src/gateways/stripe/stripe.gateway.js';
import { captureRequest, chargeRequest, patience, refundRequest } from './sandbox-fixture.js';
import { SECRET_KEY, StripeServer } from './stripe-server.js';

const NAMELESS = { chargeKey: null, transactionId: null };
const ALL: TimeRange = { from: null, to: null };

/** Stripe's records as effects, through its lists and through lookups. */
describe('the books of Stripe', () => {
  let server: StripeServer;
  let gateway: StripeGateway;
  let books: StripeBooks;

  beforeEach(async () => {
    server = await StripeServer.start();
    const access = { secretKey: SECRET_KEY, apiBase: server.url };
    gateway = new StripeGateway(access);
    books = new StripeBooks(access);
  });
  afterEach(async () => {
    books.close();
    await server.close();
  });

  const within = () => patience(5_000);

  async function listed(range = ALL): Promise<GatewayEffect[]> {
    const effects: GatewayEffect[] = [];
    for await (const page of books.effects(range)) effects.push(...page);
    return effects;
  }

  /** The effects of one payment. Lists and lookups have to agree on them. */
  async function effectsOf(chargeKey: string, reference: string): Promise<GatewayEffect[]> {
    const effects = (await listed()).filter((effect) => effect.chargeKey === chargeKey);
    expect(await books.effectsOf([{ ...NAMELESS, chargeKey, chargeReferences: [reference] }])).toEqual(
      effects,
    );
    return effects;
  }

  async function charged(request = chargeRequest()) {
    const outcome = await gateway.charge(request, within());
    if (outcome.kind !== 'approved') throw new Error(`not approved: ${outcome.kind}`);
    return { request, reference: outcome.reference };
  }

  const authorized = () => charged(chargeRequest('pm_card_visa', { captureMethod: 'manual' }));

  it('report a charge with our key', async () => {
    const { request, reference } = await charged();
    expect(await effectsOf(request.gatewayKey, reference)).toEqual([
      {
        kind: 'charge',
        reference,
        chargeReference: reference,
        chargeKey: request.gatewayKey,
        transactionId: null,
        refundId: null,
        gatewayKey: request.gatewayKey,
        amountMinor: 1_999n,
        currency: 'EUR',
        at: expect.any(Date),
      },
    ]);
  });

  it('report an authorization, its partial capture and its refund', async () => {
    const { request, reference } = await authorized();
    const capture = { ...captureRequest(request, reference), amountMinor: 1_500n };
    await gateway.capture(capture, within());
    const refund = { ...refundRequest(request, reference), amountMinor: 500n };
    await gateway.refund(refund, within());
    expect(await effectsOf(request.gatewayKey, reference)).toMatchObject([
      { kind: 'authorization', amountMinor: 1_999n, gatewayKey: request.gatewayKey },
      { kind: 'capture', amountMinor: 1_500n, gatewayKey: capture.gatewayKey },
      { kind: 'refund', amountMinor: 500n, gatewayKey: refund.gatewayKey, chargeReference: reference },
    ]);
  });

  it('report a void, but not for an intent that never reserved money', async () => {
    const { request, reference } = await authorized();
    await gateway.cancel(captureRequest(request, reference), within());
    expect(await effectsOf(request.gatewayKey, reference)).toMatchObject([
      { kind: 'authorization' },
      { kind: 'void', amountMinor: 1_999n },
    ]);
    const waiting = chargeRequest('pm_requires_action');
    expect(await gateway.charge(waiting, within())).toMatchObject({ kind: 'declined' });
    expect((await listed()).map(({ chargeKey }) => chargeKey)).not.toContain(waiting.gatewayKey);
  });

  it('report nothing that was declined, is under way, or belongs to somebody else', async () => {
    await gateway.charge(chargeRequest('pm_card_visa_chargeDeclined'), within());
    await gateway.charge(chargeRequest('pm_processing'), within());
    const pending = await charged(chargeRequest('pm_card_pendingRefund'));
    await gateway.refund(refundRequest(pending.request, pending.reference), within());
    const foreign = await charged();
    server.api.intents.get(foreign.reference)!.metadata = {};
    expect(await listed()).toMatchObject([{ kind: 'charge', chargeKey: pending.request.gatewayKey }]);
  });

  it('report a refund that was made by hand, but not the freeing of an uncaptured amount', async () => {
    const { request, reference } = await charged();
    server.api.handle('POST', '/v1/refunds', { payment_intent: reference, amount: '300' });
    expect(await effectsOf(request.gatewayKey, reference)).toMatchObject([
      { kind: 'charge' },
      { kind: 'refund', refundId: null, gatewayKey: null, amountMinor: 300n },
    ]);
    const part = await authorized();
    const capture = { ...captureRequest(part.request, part.reference), amountMinor: 1_500n };
    await gateway.capture(capture, within());
    server.api.handle('POST', '/v1/refunds', { payment_intent: part.reference, amount: '499' });
    expect(await effectsOf(part.request.gatewayKey, part.reference)).toMatchObject([
      { kind: 'authorization' },
      { kind: 'capture' },
    ]);
  });

  it('report what earlier versions made, by our ids', async () => {
    const ids = { transactionId: randomUUID(), refundId: randomUUID() };
    const { request, reference } = await charged(chargeRequest('pm_card_visa', { ids }));
    await gateway.refund({ ...refundRequest(request, reference), amountMinor: 500n }, within());
    const payment = { chargeKey: request.gatewayKey, transactionId: ids.transactionId };
    expect(await effectsOf(request.gatewayKey, reference)).toMatchObject([
      { kind: 'charge', ...payment, gatewayKey: request.gatewayKey, refundId: null },
      { kind: 'refund', ...payment, gatewayKey: null, refundId: ids.refundId },
    ]);
  });

  it('are read page by page, and only within a time range', async () => {
    for (let n = 0; n < 120; n += 1) {
      server.api.handle('POST', '/v1/payment_intents', {
        amount: '1000',
        currency: 'eur',
        payment_method: 'pm_card_visa',
        confirm: 'true',
        metadata: { transaction_id: randomUUID() },
      });
    }
    const intents = [...server.api.intents.values()];
    intents.forEach((intent, n) => (intent.created = 1_000 + n));
    expect(new Set((await listed()).map(({ reference }) => reference)).size).toBe(120);
    expect(server.seen(/^GET \/v1\/payment_intents$/)).toHaveLength(2);
    const some = await listed({ from: new Date(1_010_000), to: new Date(1_020_000) });
    expect(some.map(({ at }) => at.getTime() / 1_000).toReversed()).toEqual(
      Array.from({ length: 10 }, (_, n) => 1_010 + n),
    );
  });

  it('are asked again after a lost answer, and say in one sentence why they cannot be asked', async () => {
    await charged();
    server.next(/payment_intents/, { kind: 'reset_before' });
    server.next(/refunds/, { kind: 'error_before' });
    expect(await listed()).toHaveLength(1);
    const closed = new StripeBooks({ secretKey: 'sk_test_wrong12345678', apiBase: server.url });
    await expect(closed.effectsOf([{ ...NAMELESS, chargeReferences: ['pi_x'] }])).rejects.toThrow(
      /^Stripe cannot be asked \(StripeAuthenticationError, 401\)\.$/,
    );
    closed.close();
    expect(await books.effectsOf([{ ...NAMELESS, chargeReferences: ['pi_x'] }])).toEqual([]);
  });

  it.each(['EUR', 'JPY', 'ISK', 'UGX', 'MGA', 'KWD'])('count %s as we do', (currency) => {
    for (const amount of [100n, 1_000n, 999_999_999_900n]) {
      expect(fromStripeAmount(toStripeAmount(amount, currency)!, currency)).toBe(amount);
    }
    expect(fromStripeAmount(150, 'ISK')).toBeNull();
  });
});
