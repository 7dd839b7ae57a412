import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load-config.js';
import { withDatabase } from '../../src/cli/cli-database.js';
import { PipelinedTransactions } from '../../src/database/pipelined-transactions.js';
import { openGatewayBooks } from '../../src/gateways/open-gateway-books.js';
import type { Finding } from '../../src/reconciliation/compare.js';
import { EffectStage } from '../../src/reconciliation/effect-stage.js';
import { OurBooksStore } from '../../src/reconciliation/our-books.store.js';
import { Reconciliation } from '../../src/reconciliation/reconciliation.js';
import { AUTOMATIC, get, MANUAL, newPayment } from '../support/api.js';
import { charge, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { RacingBooks } from './racing-books.js';
import { AFTER, BEFORE, DECLINED, found, TwoBooks } from './two-books.js';

describe('a reconciliation', () => {
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

  /** Makes one payment in each state that money can be in. */
  async function everything(): Promise<void> {
    const charged = await newPayment(books.service, AUTOMATIC);
    await books.refund(charged, 300);
    await books.refund(charged, 700);
    await newPayment(books.service, DECLINED);
    await newPayment(books.service, { ...AUTOMATIC, payment_method: 'pm_gateway_unavailable' });
    await newPayment(books.service, MANUAL);
    await books.capture(await newPayment(books.service, MANUAL), 600);
    await books.cancel(await newPayment(books.service, MANUAL));
    const refused = await newPayment(books.service, {
      ...AUTOMATIC,
      payment_method: 'pm_card_refund_declined',
    });
    await books.refund(refused, 100);
    await charge(books.service, newKey(), { body: AFTER });
    await charge(books.service, newKey(), { body: BEFORE });
  }

  it('finds that the books agree after everything that can happen, over HTTP and from the file, and changes nothing', async () => {
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

  it('counts an open operation only when it is old, and then lists an effect that the gateway has as missing here', async () => {
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

  it('finds a charge for no payment of ours', async () => {
    await books.engine.charge({
      gatewayKey: 'not even a UUID',
      ids: { transactionId: 'nor this', refundId: null },
      amountMinor: 500n,
      currency: 'EUR',
      paymentMethod: 'pm_card_visa',
      captureMethod: 'automatic',
    });
    const { report } = await books.reconcile({ from });
    expect(report.missingHere).toMatchObject({
      count: 1,
      data: [{ reason: 'no_payment', transaction_id: 'nor this', amount: 500, merchant_id: null }],
    });
    expect(report.agrees).toBe(false);
  });

  it('finds money that was taken for a payment that we list as failed', async () => {
    const id = await newPayment(books.service, DECLINED);
    await books.tamper(`UPDATE calls SET outcome = 'approved', failure_code = NULL`, id);
    const reconciled = await books.reconcile({ from, repair: true });
    expect(found(reconciled)).toEqual(['missing here: charge not_settled']);
    expect(reconciled.report.missingHere.data[0]).toMatchObject({
      status_here: 'failed',
      repairable: false,
    });
    expect((await get(books.service, `/v1/payments/${id}`)).json['status']).toBe('failed');
  });

  it('finds effects that the gateway lost', async () => {
    const charged = await newPayment(books.service, AUTOMATIC);
    await books.refund(charged, 300);
    const captured = await newPayment(books.service, MANUAL);
    await books.capture(captured);
    const lost = await newPayment(books.service, AUTOMATIC);
    await books.tamper('DELETE FROM calls', charged, 'refund');
    await books.tamper('DELETE FROM calls', captured, 'capture');
    await books.tamper('DELETE FROM calls', lost);
    const reconciled = await books.reconcile({ from });
    expect(found(reconciled)).toEqual([
      'missing there: capture',
      'missing there: charge',
      'missing there: refund',
    ]);
    expect(reconciled.report.agrees).toBe(false);
  });

  it('finds amounts that differ, whichever side changed them', async () => {
    const ours = await newPayment(books.service, AUTOMATIC);
    await books.evidence.query('UPDATE payments SET amount = 1001 WHERE transaction_id = $1', [ours]);
    const taken = await newPayment(books.service, AUTOMATIC);
    await books.evidence.query('UPDATE payments SET amount_captured = 999 WHERE transaction_id = $1', [
      taken,
    ]);
    const theirs = await newPayment(books.service, AUTOMATIC);
    await books.refund(theirs, 300);
    await books.tamper('UPDATE calls SET amount = 301', theirs, 'refund');
    const captured = await newPayment(books.service, MANUAL);
    await books.capture(captured, 600);
    await books.tamper('UPDATE calls SET amount = 700', captured, 'capture');
    const reconciled = await books.reconcile({ from, repair: true });
    expect(found(reconciled)).toEqual([
      'differs: capture 600 700',
      'differs: charge 1001 1000',
      'differs: charge 999 1000',
      'differs: refund 300 301',
    ]);
    expect(reconciled).toMatchObject({ repaired: 0, report: { agrees: false } });
  });

  it('finds a difference only for the merchant to whom the payment belongs', async () => {
    const id = await newPayment(books.service, AUTOMATIC);
    await books.tamper('UPDATE calls SET amount = 1', id);
    const [row] = await books.evidence.query<{ merchant_id: string }>(
      'SELECT merchant_id FROM payments WHERE transaction_id = $1',
      [id],
    );
    expect(found(await books.reconcile({ from, merchantId: row!.merchant_id }))).toHaveLength(1);
    expect((await books.reconcile({ from, merchantId: randomUUID() })).report.agrees).toBe(true);
  });

  it('finds a difference only within the range: a payment by when it was made, an effect by when it happened', async () => {
    const id = await newPayment(books.service, MANUAL);
    const between = new Date();
    await books.capture(id, 600);
    const bounds = { before: { from, to: between }, after: { from: between, to: null } };
    for (const range of Object.values(bounds)) {
      expect((await books.reconcile(range)).report.agrees).toBe(true);
    }
    await books.tamper('UPDATE calls SET amount = 700', id, 'capture');
    // Both the payment's day and the capture's day show it.
    for (const range of Object.values(bounds)) {
      expect(found(await books.reconcile(range))).toEqual(['differs: capture 600 700']);
    }
    await books.tamper('DELETE FROM calls', id, 'capture');
    expect(found(await books.reconcile(bounds.before))).toEqual(['missing there: capture']);
    expect((await books.reconcile(bounds.after)).report.agrees).toBe(true);
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
  ])('cannot run %s', async (_name, env, message) => {
    await expect(books.reconcile({}, { ...books.env, ...env })).rejects.toThrow(message);
  });

  it('counts all differences, and shows as many as requested', async () => {
    for (let n = 0; n < 3; n += 1) {
      const id = await newPayment(books.service, AUTOMATIC);
      await books.tamper('DELETE FROM calls', id);
    }
    const { report } = await books.reconcile({ from, shown: 2 });
    expect([report.missingThere.count, report.missingThere.data.length]).toEqual([3, 2]);
  });

  it('reports no false difference while the service runs', async () => {
    const done = { stop: false, requests: 0 };
    const client = async (): Promise<void> => {
      while (!done.stop) {
        const charged = await newPayment(books.service, AUTOMATIC);
        await books.refund(charged, 300);
        const authorized = await newPayment(books.service, MANUAL);
        await (done.requests % 2 === 0 ? books.capture(authorized, 600) : books.cancel(authorized));
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

  it('looks twice at what happened while it read the books: a single look would see differences', async () => {
    const authorized = await newPayment(books.service, MANUAL);
    const act = async (): Promise<void> => {
      await books.refund(await newPayment(books.service, AUTOMATIC), 300);
      await books.capture(authorized);
    };
    expect(await actInBetween(act, true)).toEqual([]);
    const another = await newPayment(books.service, MANUAL);
    expect(await actInBetween(async () => void (await books.capture(another)), false)).toEqual([
      'missing_there',
    ]);
  });
});
