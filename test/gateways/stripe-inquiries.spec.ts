import { v7 as uuidv7 } from 'uuid';
import type { ChargeRequest, GatewayInquiry } from '../../src/gateways/gateway.js';
import {
  chargeRequest,
  CREATE,
  referenceOf,
  StripeFixture,
  UNAVAILABLE,
  UNKNOWN,
  within,
} from './stripe-fixture.js';
import type { Intent } from './stripe-wire.js';

const HOUR_MS = 3_600_000;
const ABSENT = { kind: 'absent' };

let stripe: StripeFixture;

beforeEach(async () => {
  stripe = await StripeFixture.start();
});
afterEach(() => stripe.close());

describe('the Stripe gateway, after Stripe has forgotten a key', () => {
  it('looks the payment up first, and does not charge it twice', async () => {
    const request = chargeRequest({ transactionId: ageOf(25) });
    stripe.server.next(CREATE, { kind: 'reset_after' });
    // The charge was young at its first try.
    expect(await stripe.charge(request, stripe.gateway({ now: () => Date.now() - 25 * HOUR_MS }))).toEqual(
      UNKNOWN,
    );
    stripe.server.forgetKeys();
    expect((await stripe.charge(request)).kind).toBe('approved');
    expect(stripe.server.api.intents.size).toBe(1);
    expect(stripe.server.seen(CREATE)).toHaveLength(1);
  });

  it('sends a charge that Stripe has no trace of, but not one that Stripe may have', async () => {
    const request = chargeRequest({ transactionId: ageOf(25) });
    stripe.server.next(/search$/, { kind: 'error_before' });
    expect(await stripe.charge(request)).toEqual(UNKNOWN);
    expect(stripe.server.seen(CREATE)).toHaveLength(0);
    expect((await stripe.charge(request)).kind).toBe('approved');
    expect(stripe.server.seen(CREATE)).toHaveLength(1);
  });

  it('does not refund twice', async () => {
    const { refund } = await stripe.paid('automatic');
    const old = { ...refund, refundId: ageOf(25), amountMinor: 100n };
    const first = await stripe.gateway().refund(old, within());
    stripe.server.forgetKeys();
    expect(await stripe.gateway().refund(old, within())).toEqual(first);
    expect(stripe.server.api.refunds.size).toBe(1);
  });

  it('recognizes its own capture and cancel by what they left behind', async () => {
    const captured = await stripe.paid('manual');
    const canceled = await stripe.paid('manual');
    for (let tries = 1; tries <= 2; tries += 1) {
      expect((await stripe.gateway().capture(captured.later, within())).kind).toBe('approved');
      expect((await stripe.gateway().cancel(canceled.later, within())).kind).toBe('approved');
      stripe.server.forgetKeys();
    }
    const another = () => ({ ...captured.later, gatewayKey: uuidv7() });
    expect((await stripe.gateway().capture(another(), within())).kind).toBe('declined');
    expect((await stripe.gateway().cancel(another(), within())).kind).toBe('declined');
  });
});

describe('inquiries at Stripe', () => {
  it('find captures, cancels and refunds by their payment, and say if there is none', async () => {
    const { request, reference, later, refund } = await stripe.paid('manual');
    const ask = (kind: GatewayInquiry['kind'], gatewayKey: string, refundId: string | null = null) =>
      stripe.gateway().inquire(inquiryOf(request, { kind, gatewayKey, reference, refundId }), within());
    expect(await ask('charge', request.gatewayKey)).toEqual({ kind: 'approved', reference });
    expect(await ask('capture', later.gatewayKey)).toEqual(ABSENT);
    await stripe.gateway().capture(later, within());
    expect(await ask('capture', later.gatewayKey)).toEqual({ kind: 'approved', reference });
    expect(await ask('capture', 'another key')).toEqual(ABSENT);
    expect(await ask('cancel', 'a key')).toEqual(ABSENT);
    expect(await ask('refund', 'a key', refund.refundId)).toEqual(ABSENT);
    const refunded = await stripe.gateway().refund(refund, within());
    expect(await ask('refund', 'a key', refund.refundId)).toEqual(refunded);
  });

  it('find what became of a charge that Stripe answers with 500 for a day', async () => {
    const request = chargeRequest();
    stripe.server.next(CREATE, { kind: 'error_after' });
    expect(await stripe.charge(request)).toEqual(UNKNOWN);
    expect(await stripe.charge(request)).toEqual(UNKNOWN);
    const [intent] = stripe.server.api.intents.values();
    expect(await stripe.gateway().inquire(inquiryOf(request), within())).toEqual({
      kind: 'approved',
      reference: intent?.id,
    });
  });

  it('find a charge in the list that the search does not know yet', async () => {
    stripe.server.api.indexAtOnce = false;
    const request = chargeRequest();
    const reference = referenceOf(await stripe.charge(request));
    for (let others = 0; others < 150; others += 1)
      stripe.server.api.intents.set(`pi_${others}`, anotherIntent(others));
    expect(await stripe.gateway().inquire(inquiryOf(request), within())).toEqual({
      kind: 'approved',
      reference,
    });
    expect(stripe.server.seen(/^GET \/v1\/payment_intents$/)).toHaveLength(2);
  });

  it('find a decline', async () => {
    const request = chargeRequest({ paymentMethod: 'pm_card_visa_chargeDeclinedInsufficientFunds' });
    await stripe.charge(request);
    expect(await stripe.gateway().inquire(inquiryOf(request), within())).toMatchObject({
      kind: 'declined',
      failure: { code: 'insufficient_funds' },
    });
  });

  it('never say absent within an hour of the last send, however old the payment is', async () => {
    const query = inquiryOf(chargeRequest({ transactionId: ageOf(30) }));
    const sent = (hoursAgo: number): Date => new Date(Date.now() - hoursAgo * HOUR_MS);
    expect(await stripe.gateway().inquire({ ...query, unknownSince: sent(0.9) }, within())).toEqual(UNKNOWN);
    expect(await stripe.gateway().inquire({ ...query, unknownSince: sent(1.1) }, within())).toEqual(ABSENT);
  });

  it('never say absent for a young charge, because its request may still be on its way', async () => {
    expect(
      await stripe.gateway().inquire(inquiryOf(chargeRequest({ transactionId: ageOf(0.9) })), within()),
    ).toEqual(UNKNOWN);
    expect(
      await stripe.gateway().inquire(inquiryOf(chargeRequest({ transactionId: ageOf(1.1) })), within()),
    ).toEqual(ABSENT);
  });

  it('never say absent for a charge that may be on a later page of the list than they read', async () => {
    for (let others = 0; others < 1_001; others += 1)
      stripe.server.api.intents.set(`pi_${others}`, anotherIntent(others));
    expect(
      await stripe.gateway().inquire(inquiryOf(chargeRequest({ transactionId: ageOf(5) })), within()),
    ).toEqual(UNKNOWN);
  });

  it('say when Stripe could not be asked', async () => {
    const request = chargeRequest();
    await stripe.charge(request);
    stripe.server.next(/search$/, { kind: 'reset_before' });
    expect(await stripe.gateway().inquire(inquiryOf(request), within())).toEqual(UNAVAILABLE);
  });

  function anotherIntent(number: number): Intent {
    const [template] = stripe.server.api.intents.values();
    const created = Math.floor(Date.now() / 1_000);
    return { ...template, id: `pi_${number}`, created, metadata: {}, status: 'succeeded' } as Intent;
  }
});

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

function ageOf(hours: number) {
  return uuidv7({ msecs: Date.now() - hours * HOUR_MS });
}
