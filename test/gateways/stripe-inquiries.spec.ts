import type { ChargeRequest } from '../../src/gateways/gateway.js';
import {
  ABSENT,
  CREATE,
  UNAVAILABLE,
  UNKNOWN,
  charge,
  chargeRequest,
  gateway,
  HOUR_MS,
  hoursAgo,
  inquire,
  newKey,
  paid,
  referenceOf,
  sent,
  server,
  withStripe,
  within,
} from './stripe-fixture.js';
import type { Intent } from './stripe-wire.js';

withStripe();

describe('after Stripe has forgotten a key', () => {
  it('looks the payment up first, and does not charge it twice', async () => {
    const request = chargeRequest({ sentSince: hoursAgo(25) });
    server.next(CREATE, { kind: 'reset_after' });
    // The charge was young at its first try.
    expect(await charge(request, gateway({ now: () => Date.now() - 25 * HOUR_MS }))).toEqual(UNKNOWN);
    server.forgetKeys();
    expect((await charge(request)).kind).toBe('approved');
    expect(server.api.intents.size).toBe(1);
    expect(server.seen(CREATE)).toHaveLength(1);
  });

  it('sends a charge that Stripe has no trace of, but not one that Stripe may have', async () => {
    const request = chargeRequest({ sentSince: hoursAgo(25) });
    server.next(/search$/, { kind: 'error_before' });
    expect(await charge(request)).toEqual(UNKNOWN);
    expect(server.seen(CREATE)).toHaveLength(0);
    expect((await charge(request)).kind).toBe('approved');
    expect(server.seen(CREATE)).toHaveLength(1);
  });

  it('does not refund twice', async () => {
    const { refund } = await paid('automatic');
    const old = { ...refund, sentSince: hoursAgo(25), amountMinor: 100n };
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
    const another = () => ({ ...captured.later, gatewayKey: newKey() });
    expect((await gateway().capture(another(), within())).kind).toBe('declined');
    expect((await gateway().cancel(another(), within())).kind).toBe('declined');
  });
});

describe('lookups after the database has lost its tail', () => {
  const look = (request: ChargeRequest, since: Date, until: Date) =>
    gateway().lookUp(sent({ ...request, sentSince: since }), { since, until }, within());

  it('find a charge whose key Stripe has forgotten, and nothing else', async () => {
    const request = chargeRequest();
    const reference = referenceOf(await charge(request));
    server.forgetKeys();
    expect(await look(request, hoursAgo(30), new Date())).toEqual({ kind: 'approved', reference });
    expect(await look(chargeRequest(), hoursAgo(30), hoursAgo(2))).toEqual(ABSENT);
    expect(server.seen(/^GET \/v1\/payment_intents$/)).toHaveLength(0);
  });

  it('ask nothing while Stripe knows the key: sending again is safe, and its search lags', async () => {
    expect(await look(chargeRequest(), hoursAgo(22), new Date())).toEqual(ABSENT);
    expect(server.requests).toEqual([]);
  });

  it('read the list while the search may lag behind what was lost', async () => {
    server.api.indexAtOnce = false;
    const request = chargeRequest();
    const reference = referenceOf(await charge(request));
    expect(await look(request, hoursAgo(30), hoursAgo(0.5))).toEqual({ kind: 'approved', reference });
    expect(await look(chargeRequest(), hoursAgo(30), hoursAgo(0.5))).toEqual(ABSENT);
  });

  it('say that Stripe could not be asked', async () => {
    server.next(/search$/, { kind: 'reset_before' });
    expect(await look(chargeRequest(), hoursAgo(30), hoursAgo(2))).toEqual(UNAVAILABLE);
  });
});

describe('inquiries', () => {
  it('find captures, cancels and refunds by their payment, and say if there is none', async () => {
    const { request, reference, later, refund } = await paid('manual');
    expect(await inquire(sent(request))).toEqual({ kind: 'approved', reference });
    expect(await inquire({ kind: 'capture', request: later })).toEqual(ABSENT);
    await gateway().capture(later, within());
    expect(await inquire({ kind: 'capture', request: later })).toEqual({ kind: 'approved', reference });
    const another = { ...later, gatewayKey: newKey() };
    expect(await inquire({ kind: 'capture', request: another })).toEqual(ABSENT);
    expect(await inquire({ kind: 'cancel', request: another })).toEqual(ABSENT);
    expect(await inquire({ kind: 'refund', request: refund })).toEqual(ABSENT);
    const refunded = await gateway().refund(refund, within());
    expect(await inquire({ kind: 'refund', request: refund })).toEqual(refunded);
  });

  it('find a charge in the list that the search does not know yet', async () => {
    server.api.indexAtOnce = false;
    const request = chargeRequest();
    const reference = referenceOf(await charge(request));
    for (let others = 0; others < 150; others += 1)
      server.api.intents.set(`pi_${others}`, anotherIntent(others));
    expect(await inquire(sent(request))).toEqual({ kind: 'approved', reference });
    expect(server.seen(/^GET \/v1\/payment_intents$/)).toHaveLength(2);
  });

  it('find a decline', async () => {
    const request = chargeRequest({ paymentMethod: 'pm_card_visa_chargeDeclinedInsufficientFunds' });
    await charge(request);
    expect(await inquire(sent(request))).toMatchObject({
      kind: 'declined',
      failure: { code: 'insufficient_funds' },
    });
  });

  it('never say absent within an hour of the last send, however old the payment is', async () => {
    const call = sent(chargeRequest({ sentSince: hoursAgo(30) }));
    expect(await inquire(call, hoursAgo(0.9))).toEqual(UNKNOWN);
    expect(await inquire(call, hoursAgo(1.1))).toEqual(ABSENT);
  });

  it('never say absent for a young charge, because its request may still be on its way', async () => {
    expect(await inquire(sent(chargeRequest({ sentSince: hoursAgo(0.9) })))).toEqual(UNKNOWN);
    expect(await inquire(sent(chargeRequest({ sentSince: hoursAgo(1.1) })))).toEqual(ABSENT);
  });

  it('never say absent for a charge that may be on a later page of the list than they read', async () => {
    for (let others = 0; others < 1_001; others += 1)
      server.api.intents.set(`pi_${others}`, anotherIntent(others));
    expect(await inquire(sent(chargeRequest({ sentSince: hoursAgo(5) })))).toEqual(UNKNOWN);
  });

  it('say when Stripe could not be asked', async () => {
    const request = chargeRequest();
    await charge(request);
    server.next(/search$/, { kind: 'reset_before' });
    expect(await inquire(sent(request))).toEqual(UNAVAILABLE);
  });

  function anotherIntent(number: number): Intent {
    const [template] = server.api.intents.values();
    const created = Math.floor(Date.now() / 1_000);
    return { ...template, id: `pi_${number}`, created, metadata: {}, status: 'succeeded' } as Intent;
  }
});
