import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load-config.js';
import { withDatabase } from '../../src/cli/cli-database.js';
import { PipelinedTransactions } from '../../src/database/pipelined-transactions.js';
import { GatewayBooks, type GatewayEffect } from '../../src/gateways/gateway-books.js';
import { openGatewayBooks } from '../../src/gateways/open-gateway-books.js';
import type { Finding } from '../../src/reconciliation/compare.js';
import { EffectStage } from '../../src/reconciliation/effect-stage.js';
import { OurBooksStore } from '../../src/reconciliation/our-books.store.js';
import { Reconciliation } from '../../src/reconciliation/reconciliation.js';
import { AUTOMATIC, get, MANUAL, newPayment, post } from '../support/api.js';
import { charge, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { found, TwoBooks } from './two-books.js';

const AFTER = chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' });
const BEFORE = chargeBody({ payment_method: 'pm_gateway_timeout_before_charge' });
const DECLINED = chargeBody({ payment_method: 'pm_card_declined' });

describe('our books against the gateway’s', () => {
  let books: TwoBooks;
  /** Each test compares only what happened since it began, because earlier tests leave their damage. */
  let from: Date;

  beforeAll(async () => {
    books = await TwoBooks.open();
  });
  beforeEach(() => {
    books.engine.play(null);
    from = new Date();
  });
  afterAll(() => books.close());

  const capture = (id: string, amount?: number) =>
    post(books.service, `/v1/payments/${id}/capture`, { body: amount === undefined ? {} : { amount } });
  const cancel = (id: string) => post(books.service, `/v1/payments/${id}/cancel`);
  const refund = (id: string, amount: number) =>
    post(books.service, `/v1/payments/${id}/refunds`, { body: { amount } });

  /** Makes one payment in each state that money can be in. */
  async function everything(): Promise<void> {
    const charged = await newPayment(books.service, AUTOMATIC);
    await refund(charged, 300);
    await refund(charged, 700);
    await newPayment(books.service, DECLINED);
    await newPayment(books.service, { ...AUTOMATIC, payment_method: 'pm_gateway_unavailable' });
    await newPayment(books.service, MANUAL);
    await capture(await newPayment(books.service, MANUAL), 600);
    await cancel(await newPayment(books.service, MANUAL));
    const refused = await newPayment(books.service, {
      ...AUTOMATIC,
      payment_method: 'pm_card_refund_declined',
    });
    await refund(refused, 100);
    await charge(books.service, newKey(), { body: AFTER });
    await charge(books.service, newKey(), { body: BEFORE });
  }

  it('agree after everything that can happen, over HTTP and from the file, and comparing changes nothing', async () => {
    await everything();
    const before = await books.snapshot();
    const { SANDBOX_GATEWAY_URL: _url, ...onFile } = books.env;
    for (const env of [books.env, onFile]) {
      const reconciled = await books.reconcile({ from }, env);
      // A charge with a lost answer and one that never arrived are open. While they are recent, that is not a
      // difference.
      expect(found(reconciled)).toEqual(['open: charge', 'open: charge there']);
      expect(reconciled.report.agrees).toBe(true);
      expect(reconciled.compared).toEqual({ payments: 8, refunds: 3, effects: 10 });
    }
    expect(await books.snapshot()).toEqual(before);
  });

  it('count an open operation only when it is old, and then list an effect that the gateway has as missing here', async () => {
    await charge(books.service, newKey(), { body: AFTER });
    await charge(books.service, newKey(), { body: BEFORE });
    const { report } = await books.reconcile({ from, openAfterMs: 0 });
    expect([report.agrees, report.overdue]).toEqual([false, 1]);
    expect(report.missingHere.data).toMatchObject([
      { kind: 'charge', amount: 1999, reason: 'open', status_here: 'pending', repairable: true },
    ]);
    expect(report.open.data).toMatchObject([
      { kind: 'charge', overdue: true, is_there: false, repairable: false },
    ]);
  });

  describe('differ, and the difference is found:', () => {
    it('a charge for no payment of ours', async () => {
      await books.engine.charge({
        gatewayKey: randomUUID(),
        transactionId: 'not even a UUID',
        amountMinor: 500n,
        currency: 'EUR',
        paymentMethod: 'pm_card_visa',
        captureMethod: 'automatic',
      });
      const { report } = await books.reconcile({ from });
      expect(report.missingHere).toMatchObject({
        count: 1,
        data: [{ reason: 'no_payment', transaction_id: 'not even a UUID', amount: 500, merchant_id: null }],
      });
      expect(report.agrees).toBe(false);
    });

    it('money that was taken for a payment that we list as failed', async () => {
      const id = await newPayment(books.service, DECLINED);
      books.tamper(`UPDATE calls SET outcome = 'approved', failure_code = NULL WHERE transaction_id = ?`, id);
      const reconciled = await books.reconcile({ from, repair: true });
      expect(found(reconciled)).toEqual(['missing here: charge not_settled']);
      expect(reconciled.report.missingHere.data[0]).toMatchObject({
        status_here: 'failed',
        repairable: false,
      });
      expect((await get(books.service, `/v1/payments/${id}`)).json['status']).toBe('failed');
    });

    it('effects that the gateway lost', async () => {
      const charged = await newPayment(books.service, AUTOMATIC);
      await refund(charged, 300);
      const captured = await newPayment(books.service, MANUAL);
      await capture(captured);
      const lost = await newPayment(books.service, AUTOMATIC);
      books.tamper(`DELETE FROM calls WHERE transaction_id = ? AND kind = 'refund'`, charged);
      books.tamper(`DELETE FROM calls WHERE transaction_id = ? AND kind = 'capture'`, captured);
      books.tamper('DELETE FROM calls WHERE transaction_id = ?', lost);
      const reconciled = await books.reconcile({ from });
      expect(found(reconciled)).toEqual([
        'missing there: capture',
        'missing there: charge',
        'missing there: refund',
      ]);
      expect(reconciled.report.agrees).toBe(false);
    });

    it('amounts, whichever side changed them', async () => {
      const ours = await newPayment(books.service, AUTOMATIC);
      await books.evidence.query('UPDATE payments SET amount = 1001 WHERE transaction_id = $1', [ours]);
      const taken = await newPayment(books.service, AUTOMATIC);
      await books.evidence.query('UPDATE payments SET amount_captured = 999 WHERE transaction_id = $1', [
        taken,
      ]);
      const theirs = await newPayment(books.service, AUTOMATIC);
      await refund(theirs, 300);
      books.tamper(`UPDATE calls SET amount = 301 WHERE transaction_id = ? AND kind = 'refund'`, theirs);
      const captured = await newPayment(books.service, MANUAL);
      await capture(captured, 600);
      books.tamper(`UPDATE calls SET amount = 700 WHERE transaction_id = ? AND kind = 'capture'`, captured);
      const reconciled = await books.reconcile({ from, repair: true });
      expect(found(reconciled)).toEqual([
        'differs: capture 600 700',
        'differs: charge 1001 1000',
        'differs: charge 999 1000',
        'differs: refund 300 301',
      ]);
      expect(reconciled).toMatchObject({ repaired: 0, report: { agrees: false } });
    });

    it('only for the merchant to whom the payment belongs', async () => {
      const id = await newPayment(books.service, AUTOMATIC);
      books.tamper('UPDATE calls SET amount = 1 WHERE transaction_id = ?', id);
      const [row] = await books.evidence.query<{ merchant_id: string }>(
        'SELECT merchant_id FROM payments WHERE transaction_id = $1',
        [id],
      );
      expect(found(await books.reconcile({ from, merchantId: row!.merchant_id }))).toHaveLength(1);
      expect((await books.reconcile({ from, merchantId: randomUUID() })).report.agrees).toBe(true);
    });

    it('only within the range: a payment by when it was made, an effect by when it happened', async () => {
      const id = await newPayment(books.service, MANUAL);
      const between = new Date();
      await capture(id, 600);
      const bounds = { before: { from, to: between }, after: { from: between, to: null } };
      for (const range of Object.values(bounds)) {
        expect((await books.reconcile(range)).report.agrees).toBe(true);
      }
      books.tamper(`UPDATE calls SET amount = 700 WHERE transaction_id = ? AND kind = 'capture'`, id);
      // Both the payment's day and the capture's day show it.
      for (const range of Object.values(bounds)) {
        expect(found(await books.reconcile(range))).toEqual(['differs: capture 600 700']);
      }
      books.tamper(`DELETE FROM calls WHERE transaction_id = ? AND kind = 'capture'`, id);
      expect(found(await books.reconcile(bounds.before))).toEqual(['missing there: capture']);
      expect((await books.reconcile(bounds.after)).report.agrees).toBe(true);
    });
  });

  it.each<[string, Record<string, string>, RegExp]>([
    [
      'without books, which must not be mistaken for empty ones',
      { SANDBOX_GATEWAY_URL: '', DATA_DIR: join('/tmp', randomUUID()) },
      /^The sandbox gateway has no books at /,
    ],
    ['without a gateway', { SANDBOX: 'false', SANDBOX_GATEWAY_URL: '' }, /^There is no gateway/],
    [
      'without a database',
      { DATABASE_URL: '', DATA_DIR: join('/tmp', randomUUID()) },
      /^There is no database/,
    ],
  ])('cannot be compared %s', async (_name, env, message) => {
    await expect(books.reconcile({}, { ...books.env, ...env })).rejects.toThrow(message);
  });

  it('counts all, and shows as many as requested', async () => {
    for (let n = 0; n < 3; n += 1) {
      const id = await newPayment(books.service, AUTOMATIC);
      books.tamper('DELETE FROM calls WHERE transaction_id = ?', id);
    }
    const { report } = await books.reconcile({ from, shown: 2 });
    expect([report.missingThere.count, report.missingThere.data.length]).toEqual([3, 2]);
  });

  describe('are repaired', () => {
    it('when a charge, a capture, a void and a refund are open here and happened there', async () => {
      const key = newKey();
      const first = await charge(books.service, key, { body: AFTER });
      const [captured, canceled] = [
        await newPayment(books.service, MANUAL),
        await newPayment(books.service, MANUAL),
      ];
      const refunded = await newPayment(books.service, AUTOMATIC);
      books.hideNext('capture');
      await capture(captured, 600);
      books.hideNext('void');
      await cancel(canceled);
      books.hideNext('refund');
      await refund(refunded, 300);
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

    it('when a process died before it heard anything, even though the gateway lies once more', async () => {
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

    it('but not when the gateway has nothing: inquiring would close the key for good', async () => {
      const key = newKey();
      await charge(books.service, key, { body: BEFORE });
      const before = await books.snapshot();
      const reconciled = await books.reconcile({ from, openAfterMs: 0, repair: true });
      expect(found(reconciled)).toEqual(['open: charge overdue']);
      expect(reconciled).toMatchObject({ repaired: 0, report: { agrees: false } });
      expect(await books.snapshot()).toEqual(before);
    });

    it('but not while a process is working on it', async () => {
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

  describe('while the service runs', () => {
    it('report no false difference', async () => {
      const done = { stop: false, requests: 0 };
      const client = async (): Promise<void> => {
        while (!done.stop) {
          const charged = await newPayment(books.service, AUTOMATIC);
          await refund(charged, 300);
          const authorized = await newPayment(books.service, MANUAL);
          await (done.requests % 2 === 0 ? capture(authorized, 600) : cancel(authorized));
          done.requests += 4;
        }
      };
      const clients = Promise.all(Array.from({ length: 6 }, client));
      for (let run = 0; run < 5; run += 1) {
        await eventually('some more have happened', () => done.requests >= (run + 1) * 16);
        const { report } = await books.reconcile({ from });
        expect([report.missingHere.data, report.missingThere.data, report.amountDiffers.data]).toEqual([
          [],
          [],
          [],
        ]);
        expect(report.agrees).toBe(true);
      }
      done.stop = true;
      await clients;
      expect(found(await books.reconcile({ from }))).toEqual([]);
    });

    /** The worst case of the race: `act` runs after the gateway's books were read and before ours. */
    async function actInBetween(act: () => Promise<void>, looksTwice: boolean): Promise<string[]> {
      return withDatabase(books.env, async ({ dataSource }) => {
        const theirs = openGatewayBooks(loadConfig(books.env));
        const stage = new EffectStage();
        const findings: Finding[] = [];
        const racing = new RacingBooks(theirs, act, looksTwice);
        const ours = new OurBooksStore(new PipelinedTransactions(dataSource));
        await new Reconciliation(ours, racing, stage, async (some) => void findings.push(...some)).run({
          from,
          to: new Date(Date.now() + 60_000),
          merchantId: null,
        });
        stage.close();
        return findings.map(({ list }) => list);
      });
    }

    it('look twice at what happened while they were read: a single look would see differences', async () => {
      const authorized = await newPayment(books.service, MANUAL);
      const act = async (): Promise<void> => {
        await refund(await newPayment(books.service, AUTOMATIC), 300);
        await capture(authorized);
      };
      expect(await actInBetween(act, true)).toEqual([]);
      const another = await newPayment(books.service, MANUAL);
      expect(await actInBetween(async () => void (await capture(another)), false)).toEqual(['missing_there']);
    });
  });
});

/** Books in which something happens right after they were read. A negative control does not see it afterwards. */
class RacingBooks extends GatewayBooks {
  readonly name = 'racing';
  private readonly stale: GatewayEffect[] = [];

  constructor(
    private readonly inner: GatewayBooks,
    private readonly act: () => Promise<void>,
    private readonly looksTwice: boolean,
  ) {
    super();
  }

  override async *effects(range: { from: Date | null; to: Date | null }) {
    for await (const page of this.inner.effects(range)) {
      this.stale.push(...page);
      yield page;
    }
    await this.act();
  }

  override async effectsOf(payments: Parameters<GatewayBooks['effectsOf']>[0]): Promise<GatewayEffect[]> {
    if (this.looksTwice) return this.inner.effectsOf(payments);
    const ids = new Set(payments.map(({ transactionId }) => transactionId));
    return this.stale.filter(({ transactionId }) => ids.has(transactionId));
  }

  override close(): void {
    this.inner.close();
  }
}
