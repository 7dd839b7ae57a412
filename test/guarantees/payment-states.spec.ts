import { randomUUID } from 'node:crypto';
import { SANDBOX_MERCHANT_ID } from '../../src/auth/sandbox-seed.js';
import { PAYMENT_STATUSES, PAYMENT_TRANSITIONS, type PaymentStatus } from '../../src/domain/payment.js';
import { AUTOMATIC, get, MANUAL, newPayment, post } from '../support/api.js';
import { newKey } from '../support/client.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';

const AMOUNT = 1000;

const OPERATIONS = {
  capture: { path: 'capture', success: 200, refusal: 'payment_not_capturable', takesAmount: true },
  cancel: { path: 'cancel', success: 200, refusal: 'payment_not_cancelable', takesAmount: false },
  refund: { path: 'refunds', success: 201, refusal: 'payment_not_refundable', takesAmount: true },
} as const;

describe('every operation in every state with every amount does what the transition table says', () => {
  let fleet: ServiceFleet;
  let service: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create();
    service = await fleet.start();
  });
  afterAll(() => fleet.end());

  /** A payment of {@link AMOUNT} in a given state, with the whole amount left to capture or refund. */
  const inState: Record<PaymentStatus, () => Promise<string>> = {
    // A payment as another process would have left it: no client can keep one pending.
    pending: async () => {
      const id = randomUUID();
      await fleet.evidence.query(
        `INSERT INTO payments (merchant_id, transaction_id, idempotency_key, claim_id, fingerprint, amount, currency,
           status, payment_method, capture_method, created_at, updated_at)
         VALUES ($1, $2, $3, $2, 'v1:', $4, 'EUR', 'pending', 'pm_card_visa', 'manual', now(), now())`,
        [SANDBOX_MERCHANT_ID, id, newKey(), AMOUNT],
      );
      return id;
    },
    authorized: () => newPayment(service, MANUAL),
    completed: () => newPayment(service, AUTOMATIC),
    failed: () => newPayment(service, { ...AUTOMATIC, payment_method: 'pm_card_declined' }),
    canceled: async () => {
      const id = await newPayment(service, MANUAL);
      await post(service, `/v1/payments/${id}/cancel`);
      return id;
    },
  };

  for (const operation of ['capture', 'cancel', 'refund'] as const) {
    const { path, takesAmount } = OPERATIONS[operation];

    for (const status of PAYMENT_STATUSES) {
      const bodies = takesAmount
        ? [-1, 0, 1, AMOUNT, AMOUNT + 1].map((amount) => ({ amount }))
        : [{ amount: 1 }, {}];

      it.each(bodies)(
        `${operation} of a payment that is ${status}: %j`,
        async (body: { amount?: number }) => {
          const id = await inState[status]();
          const before = await get(service, `/v1/payments/${id}`);
          const key = newKey();

          const reply = await post(service, `/v1/payments/${id}/${path}`, { key, body });

          const after = await get(service, `/v1/payments/${id}`);
          const again = await post(service, `/v1/payments/${id}/${path}`, { key, body });
          const expected = expectedOf(operation, status, body.amount);
          expect(reply).toMatchObject(expected.reply);
          expect(after.json).toMatchObject(expected.reply.status < 400 ? expected.payment : before.json);
          // A refusal because of the state is final for its key, like a success. A bad body is not.
          const isFinal = expected.reply.status !== 400;
          expect(again.headers.get('idempotent-replayed')).toBe(String(isFinal));
          expect(again.body === reply.body).toBe(isFinal);
        },
      );
    }
  }

  it('an empty body and {} are the same request', async () => {
    const id = await newPayment(service, MANUAL);
    const key = newKey();
    const first = await post(service, `/v1/payments/${id}/capture`, { key });
    const again = await post(service, `/v1/payments/${id}/capture`, { key, body: {} });
    expect(first.status).toBe(200);
    expect(again).toMatchObject({ status: 200, body: first.body });
    expect(again.headers.get('idempotent-replayed')).toBe('true');
  });

  it('a refund that the gateway declines returns its reserved amount, and is final for its key', async () => {
    const id = await newPayment(service, { ...AUTOMATIC, payment_method: 'pm_card_refund_declined' });
    const key = newKey();
    const declined = await post(service, `/v1/payments/${id}/refunds`, { key });
    expect(declined).toMatchObject({ status: 402, json: { code: 'refund_declined', transaction_id: id } });
    expect((await get(service, `/v1/payments/${id}`)).json).toMatchObject({ amount_refunded: 0 });
    expect((await get(service, `/v1/refunds/${String(declined.json['refund_id'])}`)).json).toMatchObject({
      status: 'failed',
      failure: { code: 'refund_declined' },
    });
    expect((await post(service, `/v1/payments/${id}/refunds`, { key })).body).toBe(declined.body);
  });

  it('a replay of the create returns the create’s bytes after later steps, and a read shows the current state', async () => {
    const key = newKey();
    const created = await post(service, '/v1/payments', { key, body: MANUAL });
    const id = String(created.json['transaction_id']);
    await post(service, `/v1/payments/${id}/capture`, { body: { amount: 400 } });
    await post(service, `/v1/payments/${id}/refunds`, { body: { amount: 100 } });
    expect((await post(service, '/v1/payments', { key, body: MANUAL })).body).toBe(created.body);
    expect((await get(service, `/v1/payments/${id}`)).json).toMatchObject({
      status: 'completed',
      amount_captured: 400,
      amount_refunded: 100,
    });
  });
});

/** The answer that the transition table and the limits on amounts require. */
function expectedOf(operation: keyof typeof OPERATIONS, status: PaymentStatus, amount: number | undefined) {
  const { success, refusal, takesAmount } = OPERATIONS[operation];
  const next = PAYMENT_TRANSITIONS[status][operation];
  const payment = {
    status: next,
    amount_captured: { capture: amount, cancel: 0, refund: AMOUNT }[operation],
    amount_refunded: operation === 'refund' ? amount : 0,
  };
  if (amount !== undefined && (amount < 1 || !takesAmount)) return refused(400, 'validation_failed');
  if (next === undefined) return refused(409, refusal);
  if (amount !== undefined && amount > AMOUNT) return refused(409, 'amount_too_large');
  return { reply: { status: success }, payment };
}

function refused(status: number, code: string) {
  return { reply: { status, json: { code } }, payment: {} };
}
