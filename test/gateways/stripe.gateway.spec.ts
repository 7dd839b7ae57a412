import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { Outcome } from '../../src/domain/outcome.js';
import type {
  CaptureRequest,
  ChargeRequest,
  GatewayInquiry,
  RefundRequest,
} from '../../src/gateways/gateway.js';
import { StripeHttpClient } from '../../src/gateways/stripe/stripe-http-client.js';
import { StripeGateway } from '../../src/gateways/stripe/stripe.gateway.js';
import { LOCALHOST_CERTIFICATE } from './localhost-certificate.js';
import { RESTRICTED_KEY, SECRET_KEY, StripeServer, type Fault } from './stripe-server.js';
import type { Intent } from './stripe-wire.js';

const HOUR_MS = 3_600_000;
const UNKNOWN = { kind: 'unknown' };
const UNAVAILABLE = { kind: 'unavailable' };
const ABSENT = { kind: 'absent' };
const CREATE = /^POST \/v1\/payment_intents$/;

let server: StripeServer;
let logged: string[];

beforeEach(async () => {
  server = await StripeServer.start();
  logged = [];
  const log = (...parts: unknown[]): void => void logged.push(parts.join(' '));
  Logger.overrideLogger({ log, error: log, warn: log });
});
afterEach(() => server.close());

function gateway({
  secretKey = SECRET_KEY,
  apiBase = server.url,
  now = Date.now,
  ca = '',
} = {}): StripeGateway {
  return new StripeGateway({ secretKey, apiBase }, new StripeHttpClient(ca === '' ? {} : { ca }), now);
}

function chargeRequest(changes: Partial<ChargeRequest> = {}): ChargeRequest {
  return {
    gatewayKey: uuidv7(),
    transactionId: uuidv7(),
    amountMinor: 1_999n,
    currency: 'EUR',
    paymentMethod: 'pm_card_visa',
    captureMethod: 'automatic',
    ...changes,
  };
}

function within(ms = 5_000): AbortSignal {
  return AbortSignal.timeout(ms);
}

function charge(request = chargeRequest(), on = gateway(), ms?: number): Promise<Outcome> {
  return on.charge(request, within(ms));
}

function inquiryOf(request: ChargeRequest, changes: Partial<GatewayInquiry> = {}): GatewayInquiry {
  const { gatewayKey, transactionId } = request;
  const unknownSince = new Date(Date.now() - 2 * HOUR_MS);
  return {
    kind: 'charge',
    gatewayKey,
    transactionId,
    refundId: null,
    reference: null,
    unknownSince,
    ...changes,
  };
}

function referenceOf(outcome: Outcome): string {
  if (outcome.kind !== 'approved') throw new Error(`not approved but ${JSON.stringify(outcome)}`);
  return outcome.reference;
}

function intentOf(reference: string): Intent {
  const intent = server.api.intents.get(reference);
  if (intent === undefined) throw new Error(`no intent ${reference}`);
  return intent;
}

/** An authorized or completed payment, and the request of a later call on it. */
async function paid(captureMethod: ChargeRequest['captureMethod'], changes: Partial<ChargeRequest> = {}) {
  const request = chargeRequest({ captureMethod, ...changes });
  const reference = referenceOf(await charge(request));
  const later: CaptureRequest = {
    gatewayKey: uuidv7(),
    transactionId: request.transactionId,
    reference,
    amountMinor: request.amountMinor,
    currency: request.currency,
  };
  const refund: RefundRequest = { ...later, gatewayKey: uuidv7(), refundId: uuidv7() };
  return { request, reference, later, refund };
}

function ageOf(hours: number) {
  return uuidv7({ msecs: Date.now() - hours * HOUR_MS });
}

describe('on the wire', () => {
  it('confirms a card payment under our key, with our ids, a pinned version and no telemetry', async () => {
    const request = chargeRequest();
    const on = gateway();
    const reference = referenceOf(await charge(request, on));
    await charge(chargeRequest(), on);
    expect(server.requests[0]).toMatchObject({
      method: 'POST',
      path: '/v1/payment_intents',
      form: {
        amount: '1999',
        currency: 'eur',
        payment_method: 'pm_card_visa',
        allowed_payment_method_types: { '0': 'card' },
        capture_method: 'automatic',
        confirm: 'true',
        error_on_requires_action: 'true',
        metadata: { transaction_id: request.transactionId, idempotency_key: request.gatewayKey },
      },
      headers: {
        authorization: `Bearer ${SECRET_KEY}`,
        'content-type': 'application/x-www-form-urlencoded',
        'idempotency-key': request.gatewayKey,
        'stripe-version': '2026-10-28.endive',
      },
    });
    expect(server.requests[1]?.headers).not.toHaveProperty('x-stripe-client-telemetry');
    expect(intentOf(reference)).toMatchObject({ status: 'succeeded', amount_received: 1_999 });
  });

  it.each([
    ['JPY', 500n, '500'],
    ['ISK', 5n, '500'],
    ['UGX', 5n, '500'],
    ['HUF', 1_050n, '1050'],
    ['TWD', 1_050n, '1050'],
    ['MGA', 120_000n, '1200'],
    ['KWD', 5_120n, '5120'],
    ['EUR', 999_999_999_999n, '999999999999'],
  ])('sends %s %s as %s', async (currency, amountMinor, sent) => {
    await charge(chargeRequest({ currency, amountMinor }));
    expect(server.requests[0]?.form['amount']).toBe(sent);
  });

  it.each([
    ['KWD', 5_124n],
    ['MGA', 120_050n],
  ])('refuses %s %s, which Stripe cannot express, before any call', async (currency, amountMinor) => {
    const refused = { kind: 'declined', failure: { code: 'amount_not_accepted' } };
    expect(await charge(chargeRequest({ currency, amountMinor }))).toMatchObject(refused);
    const later = { ...chargeRequest({ currency, amountMinor }), reference: 'pi_1', refundId: uuidv7() };
    expect(await gateway().capture(later, within())).toMatchObject(refused);
    expect(await gateway().refund(later, within())).toMatchObject(refused);
    expect(server.requests).toEqual([]);
  });
});

describe('the life of a payment', () => {
  it('authorizes, captures a part, and refunds that in two parts', async () => {
    const { reference, later, refund } = await paid('manual');
    expect(intentOf(reference)).toMatchObject({ status: 'requires_capture', amount_received: 0 });
    const captured = await gateway().capture({ ...later, amountMinor: 1_500n }, within());
    expect(captured).toEqual({ kind: 'approved', reference });
    expect(intentOf(reference)).toMatchObject({ status: 'succeeded', amount_received: 1_500 });
    for (const amountMinor of [500n, 1_000n]) {
      const part = { ...refund, gatewayKey: uuidv7(), refundId: uuidv7(), amountMinor };
      const outcome = await gateway().refund(part, within());
      expect(server.api.refunds.get(referenceOf(outcome))).toMatchObject({
        amount: Number(amountMinor),
        payment_intent: reference,
        metadata: { refund_id: part.refundId, transaction_id: part.transactionId },
      });
    }
    expect(await gateway().refund({ ...refund, amountMinor: 1n }, within())).toMatchObject({
      kind: 'declined',
      failure: { code: 'refund_declined' },
    });
  });

  it('gives an authorization up', async () => {
    const { reference, later } = await paid('manual');
    expect(await gateway().cancel(later, within())).toEqual({ kind: 'approved', reference });
    expect(intentOf(reference).status).toBe('canceled');
    const capture = await gateway().capture({ ...later, gatewayKey: uuidv7() }, within());
    expect(capture).toMatchObject({ kind: 'declined', failure: { code: 'card_declined' } });
  });

  it('acts once per key, whatever the call', async () => {
    const { request, reference, later, refund } = await paid('manual');
    const on = gateway();
    for (let tries = 1; tries <= 2; tries += 1) {
      expect(await charge(request, on)).toEqual({ kind: 'approved', reference });
      expect(await on.capture(later, within())).toEqual({ kind: 'approved', reference });
      const part = { ...refund, gatewayKey: request.transactionId, amountMinor: 100n };
      expect((await on.refund(part, within())).kind).toBe('approved');
    }
    expect([server.api.intents.size, server.api.refunds.size]).toEqual([1, 1]);
  });

  it.each([
    ['pm_card_visa_chargeDeclined', 'card_declined'],
    ['pm_card_visa_chargeDeclinedInsufficientFunds', 'insufficient_funds'],
    ['pm_card_visa_chargeDeclinedStolenCard', 'card_declined'],
    ['pm_card_chargeDeclinedExpiredCard', 'expired_card'],
    ['pm_card_chargeDeclinedIncorrectCvc', 'invalid_payment_method'],
    ['pm_card_chargeDeclinedProcessingError', 'card_declined'],
    ['pm_card_authenticationRequired', 'card_declined'],
    ['tok_of_another_kind', 'invalid_payment_method'],
  ])('declines %s as %s, and repeats that under the same key', async (paymentMethod, code) => {
    const request = chargeRequest({ paymentMethod });
    const first = await charge(request);
    expect(first).toMatchObject({ kind: 'declined', failure: { code } });
    expect(await charge(request)).toEqual(first);
  });

  it('declines an amount below the minimum', async () => {
    expect(await charge(chargeRequest({ amountMinor: 1n }))).toMatchObject({
      kind: 'declined',
      failure: { code: 'amount_not_accepted' },
    });
  });

  it('cancels a payment that waits for its customer before it says declined', async () => {
    const request = chargeRequest({ paymentMethod: 'pm_requires_action' });
    server.next(/cancel$/, { kind: 'reset_before' });
    expect(await charge(request)).toEqual(UNKNOWN);
    expect([...server.api.intents.values()]).toMatchObject([{ status: 'requires_action' }]);
    const outcome = await charge(request);
    expect(outcome).toMatchObject({
      kind: 'declined',
      failure: { message: expect.stringMatching(/authenticate/) },
    });
    expect([...server.api.intents.values()]).toMatchObject([{ status: 'canceled' }]);
    expect(await charge(request)).toMatchObject({ kind: 'declined' });
  });

  it('leaves a payment open while Stripe processes it, and finds its end despite the stored answer', async () => {
    const request = chargeRequest({ paymentMethod: 'pm_processing' });
    expect(await charge(request)).toEqual(UNKNOWN);
    const [intent] = server.api.intents.values();
    Object.assign(intent ?? {}, { status: 'succeeded' });
    expect(await charge(request)).toEqual({ kind: 'approved', reference: intent?.id });
  });

  it.each<Fault>([
    { kind: 'rate_limit' },
    { kind: 'answer', status: 404, error: { type: 'invalid_request_error', code: 'resource_missing' } },
    { kind: 'answer', status: 402, error: { type: 'card_error', code: 'card_declined' } },
  ])('does not apply %j, the error of its second request, to the charge or refund itself', async (fault) => {
    server.next(/^GET /, fault);
    expect(await charge(chargeRequest({ paymentMethod: 'pm_processing' }))).toEqual(UNKNOWN);
    const { refund } = await paid('automatic', { paymentMethod: 'pm_card_pendingRefund' });
    server.next(/^GET /, fault);
    expect(await gateway().refund(refund, within())).toEqual(UNKNOWN);
  });

  it('leaves a pending refund open, and finds its end despite the stored answer', async () => {
    const { refund } = await paid('automatic', { paymentMethod: 'pm_card_pendingRefund' });
    expect(await gateway().refund(refund, within())).toEqual(UNKNOWN);
    const [made] = server.api.refunds.values();
    Object.assign(made ?? {}, { status: 'failed' });
    expect(await gateway().refund(refund, within())).toMatchObject({ kind: 'declined' });
  });
});

describe('errors, each as Stripe or the network sends it', () => {
  it.each<[string, Fault, object, number]>([
    ['a connection that breaks before Stripe acts', { kind: 'reset_before' }, UNKNOWN, 0],
    ['a connection that breaks after Stripe acted', { kind: 'reset_after' }, UNKNOWN, 1],
    ['an answer that breaks off', { kind: 'cut_after' }, UNKNOWN, 1],
    ['no answer, nothing done', { kind: 'silent_before' }, UNKNOWN, 0],
    ['no answer, all done', { kind: 'silent_after' }, UNKNOWN, 1],
    ['500 with nothing done', { kind: 'error_before' }, UNKNOWN, 0],
    ['500 with all done', { kind: 'error_after' }, UNKNOWN, 1],
    ['an answer that is no JSON', { kind: 'not_json' }, UNKNOWN, 0],
    ['429 of the rate limiter', { kind: 'rate_limit' }, UNAVAILABLE, 0],
    ['429 of a lock', { kind: 'lock_timeout' }, UNKNOWN, 0],
    [
      'a parameter that Stripe does not know',
      { kind: 'answer', status: 400, error: { param: 'x' } },
      UNAVAILABLE,
      0,
    ],
    ['a status that nobody expects', { kind: 'answer', status: 418, error: { type: 'tea' } }, UNKNOWN, 0],
  ])('%s', async (_name, fault, outcome, acted) => {
    server.next(CREATE, fault);
    expect(await charge(chargeRequest(), gateway(), 300)).toEqual(outcome);
    expect(server.api.intents.size).toBe(acted);
    // The SDK's own retries are off, even the one after a reset connection.
    expect(server.seen(CREATE)).toHaveLength(1);
  });

  it.each<Fault['kind']>(['reset_before', 'reset_after', 'cut_after', 'silent_after'])(
    'learns by the same key what became of a charge after %s',
    async (kind) => {
      const request = chargeRequest();
      server.next(CREATE, { kind } as Fault);
      expect(await charge(request, gateway(), 300)).toEqual(UNKNOWN);
      expect((await charge(request)).kind).toBe('approved');
      expect(server.api.intents.size).toBe(1);
    },
  );

  it('learns by an inquiry what became of a charge that Stripe answers with 500 for a day', async () => {
    const request = chargeRequest();
    server.next(CREATE, { kind: 'error_after' });
    expect(await charge(request)).toEqual(UNKNOWN);
    expect(await charge(request)).toEqual(UNKNOWN);
    const [intent] = server.api.intents.values();
    expect(await gateway().inquire(inquiryOf(request), within())).toEqual({
      kind: 'approved',
      reference: intent?.id,
    });
  });

  it('leaves a charge open while another request with its key is in progress', async () => {
    const request = chargeRequest();
    server.next(CREATE, { kind: 'delay', ms: 200 });
    const first = charge(request);
    await sleep(50);
    expect(await charge(request)).toEqual(UNKNOWN);
    expect((await first).kind).toBe('approved');
  });

  it('leaves a charge open if its key had other parameters, and logs an error', async () => {
    const request = chargeRequest();
    await charge(request);
    expect(await charge({ ...request, amountMinor: 5_000n })).toEqual(UNKNOWN);
    expect(server.api.intents.size).toBe(1);
    expect(logged.join()).toContain('our key was used with other parameters');
  });

  it.each([
    ['a wrong key', 'sk_test_someOtherKey99'],
    ['a key that may not', RESTRICTED_KEY],
  ])('says unavailable with %s, and logs an error without the key', async (_name, secretKey) => {
    expect(await charge(chargeRequest(), gateway({ secretKey }))).toEqual(UNAVAILABLE);
    expect(logged).toHaveLength(1);
    expect(logged.join()).not.toContain(secretKey);
    expect(logged.join()).not.toContain('sk_test');
  });

  it('does not decline a payment that has the money because of a card error', async () => {
    const error = {
      type: 'card_error',
      code: 'card_declined',
      payment_intent: { id: 'pi_1', status: 'succeeded' },
    };
    server.next(CREATE, { kind: 'answer', status: 402, error });
    expect(await charge()).toEqual(UNKNOWN);
  });

  it('says unavailable for a payment that this account does not know', async () => {
    const { later } = await paid('manual');
    expect(await gateway().capture({ ...later, reference: 'pi_elsewhere' }, within())).toEqual(UNAVAILABLE);
  });
});

describe('connections that are never established', () => {
  /** Listens and says nothing, so that there is no TLS handshake. */
  async function deafServer(): Promise<string> {
    const deaf = createServer((socket) => {
      socket.on('error', () => undefined);
      cleanUps.push(() => socket.destroy());
    });
    deaf.listen(0, '127.0.0.1');
    await once(deaf, 'listening');
    cleanUps.push(() => deaf.close());
    return `https://127.0.0.1:${(deaf.address() as AddressInfo).port}`;
  }

  let cleanUps: (() => unknown)[] = [];
  afterEach(async () => {
    await Promise.all(cleanUps.map((cleanUp) => cleanUp()));
    cleanUps = [];
  });

  it('have no effect if nothing listens', async () => {
    const other = await StripeServer.start();
    const { url } = other;
    await other.close();
    expect(await charge(chargeRequest(), gateway({ apiBase: url }))).toEqual(UNAVAILABLE);
  });

  it('have no effect if the name does not exist', async () => {
    const apiBase = 'https://stripe.invalid';
    expect(await charge(chargeRequest(), gateway({ apiBase }))).toEqual(UNAVAILABLE);
  });

  it('have no effect if the certificate is not trusted, and work if it is', async () => {
    const secure = await StripeServer.start(LOCALHOST_CERTIFICATE);
    cleanUps.push(() => secure.close());
    expect(await charge(chargeRequest(), gateway({ apiBase: secure.url }))).toEqual(UNAVAILABLE);
    expect(secure.requests).toEqual([]);
    const trusting = gateway({ apiBase: secure.url, ca: LOCALHOST_CERTIFICATE.cert });
    expect((await charge(chargeRequest(), trusting)).kind).toBe('approved');
    secure.next(CREATE, { kind: 'reset_after' });
    expect(await charge(chargeRequest(), trusting)).toEqual(UNKNOWN);
  });

  it('have no effect if the server does not encrypt', async () => {
    const apiBase = server.url.replace('http:', 'https:');
    expect(await charge(chargeRequest(), gateway({ apiBase }))).toEqual(UNAVAILABLE);
    expect(server.requests).toEqual([]);
  });

  it('have no effect if the time is up before the connection is ready', async () => {
    const apiBase = await deafServer();
    expect(await charge(chargeRequest(), gateway({ apiBase }), 200)).toEqual(UNAVAILABLE);
  });
});

describe('after Stripe has forgotten a key', () => {
  it('looks the payment up first, and does not charge it twice', async () => {
    const request = chargeRequest({ transactionId: ageOf(25) });
    server.next(CREATE, { kind: 'reset_after' });
    // The charge was young at its first try.
    expect(await charge(request, gateway({ now: () => Date.now() - 25 * HOUR_MS }))).toEqual(UNKNOWN);
    server.forgetKeys();
    expect((await charge(request)).kind).toBe('approved');
    expect(server.api.intents.size).toBe(1);
    expect(server.seen(CREATE)).toHaveLength(1);
  });

  it('sends a charge that Stripe has no trace of, but not one that Stripe may have', async () => {
    const request = chargeRequest({ transactionId: ageOf(25) });
    server.next(/search$/, { kind: 'error_before' });
    expect(await charge(request)).toEqual(UNKNOWN);
    expect(server.seen(CREATE)).toHaveLength(0);
    expect((await charge(request)).kind).toBe('approved');
    expect(server.seen(CREATE)).toHaveLength(1);
  });

  it('does not refund twice', async () => {
    const { refund } = await paid('automatic');
    const old = { ...refund, refundId: ageOf(25), amountMinor: 100n };
    const first = await gateway().refund(old, within());
    server.forgetKeys();
    expect(await gateway().refund(old, within())).toEqual(first);
    expect(server.api.refunds.size).toBe(1);
  });

  it('recognizes its own capture and cancel by what they left behind', async () => {
    const captured = await paid('manual');
    const canceled = await paid('manual');
    for (let tries = 1; tries <= 2; tries += 1) {
      expect((await gateway().capture(captured.later, within())).kind).toBe('approved');
      expect((await gateway().cancel(canceled.later, within())).kind).toBe('approved');
      server.forgetKeys();
    }
    const another = () => ({ ...captured.later, gatewayKey: uuidv7() });
    expect((await gateway().capture(another(), within())).kind).toBe('declined');
    expect((await gateway().cancel(another(), within())).kind).toBe('declined');
  });
});

describe('inquiries', () => {
  it('find captures, cancels and refunds by their payment, and say if there is none', async () => {
    const { request, reference, later, refund } = await paid('manual');
    const ask = (kind: GatewayInquiry['kind'], gatewayKey: string, refundId: string | null = null) =>
      gateway().inquire(inquiryOf(request, { kind, gatewayKey, reference, refundId }), within());
    expect(await ask('charge', request.gatewayKey)).toEqual({ kind: 'approved', reference });
    expect(await ask('capture', later.gatewayKey)).toEqual(ABSENT);
    await gateway().capture(later, within());
    expect(await ask('capture', later.gatewayKey)).toEqual({ kind: 'approved', reference });
    expect(await ask('capture', 'another key')).toEqual(ABSENT);
    expect(await ask('cancel', 'a key')).toEqual(ABSENT);
    expect(await ask('refund', 'a key', refund.refundId)).toEqual(ABSENT);
    const refunded = await gateway().refund(refund, within());
    expect(await ask('refund', 'a key', refund.refundId)).toEqual(refunded);
  });

  it('find a charge in the list that the search does not know yet', async () => {
    server.api.indexAtOnce = false;
    const request = chargeRequest();
    const reference = referenceOf(await charge(request));
    for (let others = 0; others < 150; others += 1)
      server.api.intents.set(`pi_${others}`, anotherIntent(others));
    expect(await gateway().inquire(inquiryOf(request), within())).toEqual({ kind: 'approved', reference });
    expect(server.seen(/^GET \/v1\/payment_intents$/)).toHaveLength(2);
  });

  it('find a decline', async () => {
    const request = chargeRequest({ paymentMethod: 'pm_card_visa_chargeDeclinedInsufficientFunds' });
    await charge(request);
    expect(await gateway().inquire(inquiryOf(request), within())).toMatchObject({
      kind: 'declined',
      failure: { code: 'insufficient_funds' },
    });
  });

  it('never say absent within an hour of the last send, however old the payment is', async () => {
    const query = inquiryOf(chargeRequest({ transactionId: ageOf(30) }));
    const sent = (hoursAgo: number): Date => new Date(Date.now() - hoursAgo * HOUR_MS);
    expect(await gateway().inquire({ ...query, unknownSince: sent(0.9) }, within())).toEqual(UNKNOWN);
    expect(await gateway().inquire({ ...query, unknownSince: sent(1.1) }, within())).toEqual(ABSENT);
  });

  it('never say absent for a young charge, because its request may still be on its way', async () => {
    expect(
      await gateway().inquire(inquiryOf(chargeRequest({ transactionId: ageOf(0.9) })), within()),
    ).toEqual(UNKNOWN);
    expect(
      await gateway().inquire(inquiryOf(chargeRequest({ transactionId: ageOf(1.1) })), within()),
    ).toEqual(ABSENT);
  });

  it('never say absent for a charge that may be on a later page of the list than they read', async () => {
    for (let others = 0; others < 1_001; others += 1)
      server.api.intents.set(`pi_${others}`, anotherIntent(others));
    expect(await gateway().inquire(inquiryOf(chargeRequest({ transactionId: ageOf(5) })), within())).toEqual(
      UNKNOWN,
    );
  });

  it('say when Stripe could not be asked', async () => {
    const request = chargeRequest();
    await charge(request);
    server.next(/search$/, { kind: 'reset_before' });
    expect(await gateway().inquire(inquiryOf(request), within())).toEqual(UNAVAILABLE);
  });

  function anotherIntent(number: number): Intent {
    const [template] = server.api.intents.values();
    const created = Math.floor(Date.now() / 1_000);
    return { ...template, id: `pi_${number}`, created, metadata: {}, status: 'succeeded' } as Intent;
  }
});
