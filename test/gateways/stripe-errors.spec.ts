import {
  declineOf,
  STRIPE_ERRORS,
  stripeErrorRow,
  type StripeFailure,
  type StripeVerdict,
} from '../../src/gateways/stripe/stripe.errors.js';

const NOTHING: StripeFailure = {
  type: null,
  status: null,
  code: null,
  declineCode: null,
  param: null,
  intentStatus: null,
  transport: null,
};
const INVALID = { type: 'invalid_request_error', status: 400 };
const CARD = { type: 'card_error', status: 402, intentStatus: 'requires_payment_method' };

/** What Stripe sends, for every row. A row without an example, or an example without a row, fails the test. */
const EXAMPLES: Readonly<Record<string, { verdict: StripeVerdict; failures: Partial<StripeFailure>[] }>> = {
  'connection failed before the request was sent': {
    verdict: 'unavailable',
    failures: [
      { transport: { sent: false, timedOut: false } },
      { transport: { sent: false, timedOut: true } },
    ],
  },
  'no answer in time': { verdict: 'unknown', failures: [{ transport: { sent: true, timedOut: true } }] },
  'connection lost after the request was sent': {
    verdict: 'unknown',
    failures: [{ transport: { sent: true, timedOut: false } }],
  },
  'our key is in use by another request': {
    verdict: 'unknown',
    failures: [{ type: 'idempotency_error', status: 409, code: 'idempotency_key_in_use' }],
  },
  'our key was used with other parameters': {
    verdict: 'key taken',
    failures: [{ type: 'idempotency_error', status: 400 }],
  },
  'the object is locked by another request': {
    verdict: 'unknown',
    failures: [
      { ...INVALID, status: 429, code: 'lock_timeout' },
      { ...INVALID, status: 409, code: 'lock_timeout' },
    ],
  },
  'too many requests': {
    verdict: 'unavailable',
    failures: [
      { ...INVALID, status: 429 },
      { ...INVALID, code: 'rate_limit' },
    ],
  },
  'authentication failed': { verdict: 'unavailable', failures: [{ ...INVALID, status: 401 }] },
  'permission denied': { verdict: 'unavailable', failures: [{ ...INVALID, status: 403 }] },
  'card error of a payment that is alive': {
    verdict: 'unknown',
    failures: ['succeeded', 'processing', 'requires_capture'].map((intentStatus) => ({
      ...CARD,
      intentStatus,
    })),
  },
  'card declined': {
    verdict: 'declined',
    failures: [
      { ...CARD, code: 'card_declined', declineCode: 'insufficient_funds' },
      { ...CARD, code: 'processing_error', intentStatus: null },
      { ...INVALID, code: 'payment_intent_authentication_failure' },
    ],
  },
  'the payment is in another state': {
    verdict: 'look',
    failures: [
      { ...INVALID, code: 'payment_intent_unexpected_state', intentStatus: 'succeeded' },
      { ...INVALID, code: 'charge_already_refunded' },
      { ...INVALID, code: 'charge_expired_for_capture' },
    ],
  },
  'amount or currency not accepted': {
    verdict: 'declined',
    failures: [
      { ...INVALID, code: 'amount_too_small', param: 'amount' },
      { ...INVALID, code: 'amount_too_large' },
      { ...INVALID, param: 'currency' },
      { ...INVALID, param: 'amount_to_capture' },
    ],
  },
  'payment method not usable': {
    verdict: 'declined',
    failures: [
      { ...INVALID, code: 'resource_missing', param: 'payment_method' },
      { ...INVALID, code: 'payment_method_unexpected_state' },
      { ...INVALID, code: 'payment_intent_incompatible_payment_method' },
    ],
  },
  'refund refused': {
    verdict: 'declined',
    failures: [
      { ...INVALID, code: 'charge_disputed' },
      { ...INVALID, code: 'balance_insufficient' },
    ],
  },
  'request refused': {
    verdict: 'unavailable',
    failures: [
      { ...INVALID, code: 'parameter_unknown', param: 'metadata' },
      { ...INVALID, status: 404, code: 'resource_missing', param: 'intent' },
      { ...INVALID, status: 402 },
    ],
  },
  'server error': {
    verdict: 'unknown',
    failures: [
      { type: 'api_error', status: 500 },
      { type: 'api_error', status: 503 },
    ],
  },
  'anything else': {
    verdict: 'unknown',
    failures: [{}, { type: 'a_new_type', status: 418 }, { type: 'api_error', status: 409 }],
  },
};

test.each(STRIPE_ERRORS.map((row) => [row.name, row] as const))('%s', (name, row) => {
  const example = EXAMPLES[name];
  expect(row.verdict).toBe(example?.verdict);
  expect(example?.failures.length).toBeGreaterThan(0);
  for (const failure of example?.failures ?? [])
    expect(stripeErrorRow({ ...NOTHING, ...failure }).name).toBe(name);
});

it('has no example without a row', () => {
  expect(Object.keys(EXAMPLES).toSorted()).toEqual(STRIPE_ERRORS.map(({ name }) => name).toSorted());
});

it('says that no money moved only for a listed reason', () => {
  // Everything that the table does not know, and every loss after the request was sent, stays open.
  expect(STRIPE_ERRORS.at(-1)).toMatchObject({ name: 'anything else', verdict: 'unknown' });
  for (const status of [500, 502, 503, 504, 529, 418, 409]) {
    expect(stripeErrorRow({ ...NOTHING, type: 'api_error', status }).verdict).toBe('unknown');
  }
});

describe('decline codes', () => {
  test.each([
    ['insufficient_funds', 'card_declined', 'insufficient_funds'],
    ['generic_decline', 'card_declined', 'card_declined'],
    ['stolen_card', 'card_declined', 'card_declined'],
    ['a_code_of_next_year', 'card_declined', 'card_declined'],
    ['constructor', 'card_declined', 'card_declined'],
    [null, 'expired_card', 'expired_card'],
    [null, 'incorrect_cvc', 'invalid_payment_method'],
    ['incorrect_number', 'incorrect_number', 'invalid_payment_method'],
    [null, 'processing_error', 'card_declined'],
    ['authentication_required', 'authentication_required', 'card_declined'],
  ])('%s with code %s is %s', (declineCode, code, ours) => {
    expect(declineOf({ code, declineCode }, 'charge').code).toBe(ours);
  });

  it('say when the customer would have to authenticate', () => {
    const decline = declineOf({ code: 'authentication_required', declineCode: null }, 'charge');
    expect(decline.message).toMatch(/authenticate/);
  });

  it('call a refund that the card refuses a declined refund', () => {
    expect(declineOf({ code: 'card_declined', declineCode: null }, 'refund').code).toBe('refund_declined');
  });
});
