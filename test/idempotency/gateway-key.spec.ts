import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import fc from 'fast-check';
import { validate, version } from 'uuid';
import { GatewayKeys, type GatewayKeyInput } from '../../src/idempotency/gateway-key.js';

const MERCHANT = '01935f4e-6b00-7000-8000-000000000001';
const CHARGE: GatewayKeyInput = {
  merchantId: MERCHANT,
  idempotencyKey: 'order-17',
  operation: 'charge',
  body: {
    amount: 1_999,
    currency: 'EUR',
    payment_method: 'pm_card_visa',
    capture_method: 'automatic',
    user_id: null,
    description: 'Café',
    metadata: { order: '17' },
  },
};
const CHARGE_KEY = '88b596ec-b22b-8e01-a768-e3b9cc09269e';
const REVERSAL_KEY = 'b483754b-c780-8cc1-a231-a281bf26494c';
const OF_CHARGE = { payment: CHARGE_KEY };

const keys = new GatewayKeys({ gatewayKeyNamespace: 'hapax' });

/**
 * These values were computed by another program, from the description alone. A change that breaks this test makes a
 * service that has lost its tail charge every customer of that tail again: never adapt the values.
 */
describe('the gateway keys of one request, frozen for ever', () => {
  it.each<[string, GatewayKeyInput]>([
    [CHARGE_KEY, CHARGE],
    [
      'e4fe2104-4cc2-8be3-a0ef-957455b5e7b2',
      {
        merchantId: MERCHANT,
        idempotencyKey: 'capture-17',
        operation: 'capture',
        params: OF_CHARGE,
        body: { amount: null },
      },
    ],
    [
      'f5488792-4063-8aaf-aa51-ab5ca990d686',
      { merchantId: MERCHANT, idempotencyKey: 'cancel-17', operation: 'cancel', params: OF_CHARGE, body: {} },
    ],
    [
      'e68d76c1-fb53-83f3-bc6f-583dfadfd2f4',
      {
        merchantId: MERCHANT,
        idempotencyKey: 'refund-17',
        operation: 'refund',
        params: OF_CHARGE,
        body: { amount: 500, reason: null },
      },
    ],
    [
      REVERSAL_KEY,
      {
        merchantId: MERCHANT,
        idempotencyKey: 'undo-17',
        operation: 'reversal',
        body: { idempotency_key: 'order-17' },
      },
    ],
    [
      '0f618854-ceed-8e3a-a461-1df6507f3683',
      {
        merchantId: MERCHANT,
        idempotencyKey: `reversal ${REVERSAL_KEY} refund 1`,
        operation: 'refund',
        params: OF_CHARGE,
        body: {},
      },
    ],
  ])('%s', (expected, input) => {
    expect(keys.derive(input)).toBe(expected);
  });

  it('8d74603e-7399-8194-9a68-c266d00fe14a in a copy for testing', () => {
    const copy = new GatewayKeys({ gatewayKeyNamespace: 'staging' });
    expect(copy.derive(CHARGE)).toBe('8d74603e-7399-8194-9a68-c266d00fe14a');
  });
});

describe('a gateway key', () => {
  it('is a UUID of version 8', () => {
    for (let order = 0; order < 100; order += 1) {
      const key = keys.derive({ ...CHARGE, idempotencyKey: `order-${order}` });
      expect([validate(key), version(key)]).toEqual([true, 8]);
    }
  });

  it('covers the canonical JSON of RFC 8785 of all that it is derived from', () => {
    const visible = fc.string({
      unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    });
    fc.assert(
      fc.property(
        visible,
        visible,
        fc.dictionary(fc.string(), fc.string()),
        (namespace, idempotencyKey, body) => {
          const input = { ...CHARGE, idempotencyKey, params: { payment: CHARGE_KEY }, body };
          const digest = createHash('sha256')
            .update(canonicalize({ namespace, ...input }) ?? '')
            .digest();
          const derived = new GatewayKeys({ gatewayKeyNamespace: namespace }).derive(input);
          expect(derived.replaceAll('-', '').slice(17)).toBe(digest.toString('hex').slice(17, 32));
        },
      ),
    );
  });

  it('is the same whatever the order of the body, and whether parameters are left out or empty', () => {
    const body = Object.fromEntries(Object.entries(CHARGE.body).toReversed());
    expect(keys.derive({ ...CHARGE, params: {}, body })).toBe(CHARGE_KEY);
  });

  it.each<[string, Partial<GatewayKeyInput>]>([
    ['merchant', { merchantId: '01935f4e-6b00-7000-8000-000000000002' }],
    ['client key', { idempotencyKey: 'order-18' }],
    ['purpose', { operation: 'refund' }],
    ['parameter', { params: { payment: CHARGE_KEY } }],
    ['body', { body: { ...CHARGE.body, amount: 1_998 } }],
  ])('is another with another %s', (_name, change) => {
    expect(keys.derive({ ...CHARGE, ...change })).not.toBe(CHARGE_KEY);
  });
});
