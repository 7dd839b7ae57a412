import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChargeRequest } from '../../src/gateways/gateway.js';
import { LOCALHOST_CERTIFICATE } from './localhost-certificate.js';
import {
  CREATE,
  KEY_TAKEN,
  UNAVAILABLE,
  UNKNOWN,
  charge,
  chargeRequest,
  gateway,
  inquire,
  logged,
  paid,
  sent,
  server,
  withStripe,
  within,
} from './stripe-fixture.js';
import { RESTRICTED_KEY, StripeServer, type Fault } from './stripe-server.js';

withStripe();

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
    expect(await inquire(sent(request))).toEqual({
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

  it.each<[string, Partial<ChargeRequest>]>([
    ['amount', { amountMinor: 5_000n }],
    ['currency', { currency: 'USD' }],
    ['method', { paymentMethod: 'pm_card_mastercard' }],
    ['capture', { captureMethod: 'manual' }],
  ])('never believes a charge absent if its key had another %s, and logs an error', async (_name, change) => {
    const request = chargeRequest();
    await charge(request);
    const other = { ...request, ...change };
    expect(await charge(other)).toEqual(KEY_TAKEN);
    expect(await inquire(sent(other))).toEqual(KEY_TAKEN);
    expect(server.api.intents.size).toBe(1);
    expect(logged.join()).toContain('our key was used with other parameters');
  });

  it('never believes a charge absent if its key had other parameters and nothing is to be found', async () => {
    const error = { type: 'idempotency_error' };
    server.next(CREATE, { kind: 'answer', status: 400, error });
    expect(await charge()).toEqual(KEY_TAKEN);
    server.next(CREATE, { kind: 'answer', status: 400, error });
    server.next(/search$/, { kind: 'reset_before' });
    expect(await charge()).toEqual(KEY_TAKEN);
  });

  it('adopts what Stripe has under a key for the same money: calls that carried our ids', async () => {
    const ids = { transactionId: randomUUID(), refundId: randomUUID() };
    const { request, reference, later, refund } = await paid('manual', { ids });
    expect(await charge({ ...request, ids: null })).toEqual({ kind: 'approved', reference });
    await gateway().capture(later, within());
    const part = { ...refund, amountMinor: 500n };
    const refunded = await gateway().refund(part, within());
    expect(refunded.kind).toBe('approved');
    expect(await inquire({ kind: 'refund', request: part })).toEqual(refunded);
    expect(await gateway().refund({ ...part, amountMinor: 600n }, within())).toEqual(KEY_TAKEN);
    expect(await gateway().capture({ ...later, amountMinor: 600n }, within())).toEqual(KEY_TAKEN);
    expect([server.api.intents.size, server.api.refunds.size]).toEqual([1, 1]);
  });

  it('adopts a decline as well', async () => {
    const ids = { transactionId: randomUUID(), refundId: null };
    const request = chargeRequest({ ids, paymentMethod: 'pm_card_visa_chargeDeclined' });
    const first = await charge(request);
    expect(first.kind).toBe('declined');
    expect(await charge({ ...request, ids: null })).toEqual(first);
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
