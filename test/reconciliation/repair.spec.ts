import { AUTOMATIC, get, MANUAL, newPayment } from '../support/api.js';
import { charge, newKey } from '../support/client.js';
import { AFTER, BEFORE, found, TwoBooks } from './two-books.js';

describe('a reconciliation with repair', () => {
  let books: TwoBooks;
  /** Each test repairs only what happened since it began. */
  let from: Date;

  beforeAll(async () => {
    books = await TwoBooks.open();
  });
  beforeEach(() => {
    books.engine.play(null);
    from = new Date();
  });
  afterAll(() => books.close());

  it('settles a charge, a capture, a void and a refund that are open here and happened there', async () => {
    const key = newKey();
    const first = await charge(books.service, key, { body: AFTER });
    const [captured, canceled] = [
      await newPayment(books.service, MANUAL),
      await newPayment(books.service, MANUAL),
    ];
    const refunded = await newPayment(books.service, AUTOMATIC);
    books.hideNext('capture');
    await books.capture(captured, 600);
    books.hideNext('void');
    await books.cancel(canceled);
    books.hideNext('refund');
    await books.refund(refunded, 300);
    expect(found(await books.reconcile({ from }))).toEqual([
      'open: capture there',
      'open: charge there',
      'open: refund there',
      'open: void there',
    ]);

    const reconciled = await books.reconcile({ from, openAfterMs: 0, repair: true });
    expect(found(reconciled)).toEqual([]);
    expect(reconciled).toMatchObject({ repaired: 4, report: { agrees: true } });
    const statuses = await Promise.all(
      [String(first.json['transaction_id']), captured, canceled, refunded].map(async (id) => {
        const { json } = await get(books.service, `/v1/payments/${id}`);
        return [json['status'], json['amount_captured'], json['amount_refunded']];
      }),
    );
    expect(statuses).toEqual([
      ['completed', 1999, 0],
      ['completed', 600, 0],
      ['canceled', 0, 0],
      ['completed', 1000, 300],
    ]);
    // The client gets the answer that the repair stored, and nothing happened twice.
    const retried = await charge(books.service, key, { body: AFTER });
    expect([retried.status, retried.headers.get('idempotent-replayed')]).toEqual([201, 'true']);
    expect(await books.evidence.effects(key)).toHaveLength(1);
  });

  it('settles a charge whose process died before it heard anything, even if the gateway is silent once more', async () => {
    const key = newKey();
    await charge(books.service, key, { body: AFTER });
    await books.evidence.query(
      'UPDATE idempotency_keys SET unknown_since = NULL WHERE idempotency_key = $1',
      [key],
    );
    const reconciled = await books.reconcile({ from, repair: true });
    expect(found(reconciled)).toEqual([]);
    expect(reconciled.repaired).toBe(1);
    expect(await books.evidence.effects(key)).toHaveLength(1);
  });

  it('leaves a charge open that the gateway does not have, because an inquiry would close its key for good', async () => {
    const key = newKey();
    await charge(books.service, key, { body: BEFORE });
    const before = await books.snapshot();
    const reconciled = await books.reconcile({ from, openAfterMs: 0, repair: true });
    expect(found(reconciled)).toEqual(['open: charge overdue']);
    expect(reconciled).toMatchObject({ repaired: 0, report: { agrees: false } });
    expect(await books.snapshot()).toEqual(before);
  });

  it('leaves a charge open while a process is working on it', async () => {
    const key = newKey();
    await charge(books.service, key, { body: AFTER });
    await books.evidence.query(
      `UPDATE idempotency_keys SET lease_expires_at = clock_timestamp() + interval '1 minute'
       WHERE idempotency_key = $1`,
      [key],
    );
    const reconciled = await books.reconcile({ from, repair: true });
    expect(found(reconciled)).toEqual(['open: charge there']);
    expect(reconciled.repaired).toBe(0);
  });
});
