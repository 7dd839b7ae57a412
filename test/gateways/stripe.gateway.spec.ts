import {
  UNKNOWN,
  charge,
  chargeRequest,
  gateway,
  intentOf,
  newKey,
  paid,
  referenceOf,
  server,
  withStripe,
  within,
} from './stripe-fixture.js';
import { SECRET_KEY, type Fault } from './stripe-server.js';

withStripe();

describe('on the wire', () => {
  it('confirms a card payment under our key, with nothing that was drawn, a pinned version and no telemetry', async () => {
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
        metadata: { idempotency_key: request.gatewayKey, payment_method: 'pm_card_visa' },
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
  ])('sends %s %s as %s', async (currency, amountMinor, onWire) => {
    await charge(chargeRequest({ currency, amountMinor }));
    expect(server.requests[0]?.form['amount']).toBe(onWire);
  });

  it.each([
    ['KWD', 5_124n],
    ['MGA', 120_050n],
  ])('refuses %s %s, which Stripe cannot express, before any call', async (currency, amountMinor) => {
    const refused = { kind: 'declined', failure: { code: 'amount_not_accepted' } };
    expect(await charge(chargeRequest({ currency, amountMinor }))).toMatchObject(refused);
    const later = { ...chargeRequest({ currency, amountMinor }), reference: 'pi_1' };
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
      const part = { ...refund, gatewayKey: newKey(), amountMinor };
      const outcome = await gateway().refund(part, within());
      expect(server.api.refunds.get(referenceOf(outcome))).toMatchObject({
        amount: Number(amountMinor),
        payment_intent: reference,
        metadata: { idempotency_key: part.gatewayKey },
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
    const capture = await gateway().capture({ ...later, gatewayKey: newKey() }, within());
    expect(capture).toMatchObject({ kind: 'declined', failure: { code: 'card_declined' } });
  });

  it('acts once per key, whatever the call', async () => {
    const { request, reference, later, refund } = await paid('manual');
    const on = gateway();
    for (let tries = 1; tries <= 2; tries += 1) {
      expect(await charge(request, on)).toEqual({ kind: 'approved', reference });
      expect(await on.capture(later, within())).toEqual({ kind: 'approved', reference });
      const part = { ...refund, amountMinor: 100n };
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
