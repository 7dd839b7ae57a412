import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { LOCALHOST_CERTIFICATE } from './localhost-certificate.js';
import { chargeRequest, CREATE, StripeFixture, UNAVAILABLE, UNKNOWN, within } from './stripe-fixture.js';
import { RESTRICTED_KEY, StripeServer, type Fault } from './stripe-server.js';

let stripe: StripeFixture;

beforeEach(async () => {
  stripe = await StripeFixture.start();
});
afterEach(() => stripe.close());

describe('the Stripe gateway, when Stripe or the network fails', () => {
  it.each<[string, 'unknown' | 'unavailable', Fault, number]>([
    ['a connection that breaks before Stripe acts', 'unknown', { kind: 'reset_before' }, 0],
    ['a connection that breaks after Stripe acted', 'unknown', { kind: 'reset_after' }, 1],
    ['an answer that breaks off', 'unknown', { kind: 'cut_after' }, 1],
    ['no answer, with nothing done', 'unknown', { kind: 'silent_before' }, 0],
    ['no answer, with all done', 'unknown', { kind: 'silent_after' }, 1],
    ['a 500 with nothing done', 'unknown', { kind: 'error_before' }, 0],
    ['a 500 with all done', 'unknown', { kind: 'error_after' }, 1],
    ['an answer that is not JSON', 'unknown', { kind: 'not_json' }, 0],
    ['a 429 of the rate limiter', 'unavailable', { kind: 'rate_limit' }, 0],
    ['a 429 of a lock', 'unknown', { kind: 'lock_timeout' }, 0],
    [
      'a refusal of an unknown parameter',
      'unavailable',
      { kind: 'answer', status: 400, error: { param: 'x' } },
      0,
    ],
    ['a status that nobody expects', 'unknown', { kind: 'answer', status: 418, error: { type: 'tea' } }, 0],
  ])('given %s, says %s', async (_name, outcome, fault, acted) => {
    stripe.server.next(CREATE, fault);
    expect(await stripe.charge(chargeRequest(), stripe.gateway(), 300)).toEqual({ kind: outcome });
    expect(stripe.server.api.intents.size).toBe(acted);
    // The SDK's own retries are off, even the one after a reset connection.
    expect(stripe.server.seen(CREATE)).toHaveLength(1);
  });

  it.each<Fault['kind']>(['reset_before', 'reset_after', 'cut_after', 'silent_after'])(
    'learns by the same key what became of a charge after %s',
    async (kind) => {
      const request = chargeRequest();
      stripe.server.next(CREATE, { kind } as Fault);
      expect(await stripe.charge(request, stripe.gateway(), 300)).toEqual(UNKNOWN);
      expect((await stripe.charge(request)).kind).toBe('approved');
      expect(stripe.server.api.intents.size).toBe(1);
    },
  );

  it('leaves a charge open while another request with its key is in progress', async () => {
    const request = chargeRequest();
    stripe.server.next(CREATE, { kind: 'delay', ms: 200 });
    const first = stripe.charge(request);
    await sleep(50);
    expect(await stripe.charge(request)).toEqual(UNKNOWN);
    expect((await first).kind).toBe('approved');
  });

  it('leaves a charge open if its key had other parameters, and logs an error', async () => {
    const request = chargeRequest();
    await stripe.charge(request);
    expect(await stripe.charge({ ...request, amountMinor: 5_000n })).toEqual(UNKNOWN);
    expect(stripe.server.api.intents.size).toBe(1);
    expect(stripe.logged.join()).toContain('our key was used with other parameters');
  });

  it.each([
    ['a wrong key', 'sk_test_someOtherKey99'],
    ['a key without permissions', RESTRICTED_KEY],
  ])('says unavailable with %s, and logs an error without the key', async (_name, secretKey) => {
    expect(await stripe.charge(chargeRequest(), stripe.gateway({ secretKey }))).toEqual(UNAVAILABLE);
    expect(stripe.logged).toHaveLength(1);
    expect(stripe.logged.join()).not.toContain(secretKey);
    expect(stripe.logged.join()).not.toContain('sk_test');
  });

  it('does not decline a payment for a card error if Stripe has its money', async () => {
    const error = {
      type: 'card_error',
      code: 'card_declined',
      payment_intent: { id: 'pi_1', status: 'succeeded' },
    };
    stripe.server.next(CREATE, { kind: 'answer', status: 402, error });
    expect(await stripe.charge()).toEqual(UNKNOWN);
  });

  it('says unavailable for a payment that this account does not know', async () => {
    const { later } = await stripe.paid('manual');
    expect(await stripe.gateway().capture({ ...later, reference: 'pi_elsewhere' }, within())).toEqual(
      UNAVAILABLE,
    );
  });
});

describe('connections to Stripe that are never established', () => {
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
    expect(await stripe.charge(chargeRequest(), stripe.gateway({ apiBase: url }))).toEqual(UNAVAILABLE);
  });

  it('have no effect if the name does not exist', async () => {
    const apiBase = 'https://stripe.invalid';
    expect(await stripe.charge(chargeRequest(), stripe.gateway({ apiBase }))).toEqual(UNAVAILABLE);
  });

  it('have no effect if the certificate is not trusted, and work if it is', async () => {
    const secure = await StripeServer.start(LOCALHOST_CERTIFICATE);
    cleanUps.push(() => secure.close());
    expect(await stripe.charge(chargeRequest(), stripe.gateway({ apiBase: secure.url }))).toEqual(
      UNAVAILABLE,
    );
    expect(secure.requests).toEqual([]);
    const trusting = stripe.gateway({ apiBase: secure.url, ca: LOCALHOST_CERTIFICATE.cert });
    expect((await stripe.charge(chargeRequest(), trusting)).kind).toBe('approved');
    secure.next(CREATE, { kind: 'reset_after' });
    expect(await stripe.charge(chargeRequest(), trusting)).toEqual(UNKNOWN);
  });

  it('have no effect if the server does not encrypt', async () => {
    const apiBase = stripe.server.url.replace('http:', 'https:');
    expect(await stripe.charge(chargeRequest(), stripe.gateway({ apiBase }))).toEqual(UNAVAILABLE);
    expect(stripe.server.requests).toEqual([]);
  });

  it('have no effect if the time is up before the connection is ready', async () => {
    const apiBase = await deafServer();
    expect(await stripe.charge(chargeRequest(), stripe.gateway({ apiBase }), 200)).toEqual(UNAVAILABLE);
  });
});
