import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { DataSource } from 'typeorm';
import { parseSandboxScript } from '../../src/config/sandbox-script.js';
import { SandboxGatewayHost } from '../../src/gateways/sandbox/sandbox-gateway.host.js';
import { OperationRunner } from '../../src/idempotency/operation.runner.js';
import { AUTOMATIC, MANUAL, post } from '../support/api.js';
import { newKey, type Reply } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';

const GATEWAY_TIMEOUT_MS = 900;
const MERCHANT = '00000000-0000-7000-8000-000000000001';

describe('a reversal, when something comes in between', () => {
  let service: TestApp;
  let baseUrl: string;

  beforeAll(async () => {
    service = await TestApp.start({ IDEMPOTENCY_LEASE: '2s', GATEWAY_TIMEOUT: `${GATEWAY_TIMEOUT_MS}ms` });
    baseUrl = await service.app.getUrl();
  });
  afterEach(() => play(null));
  afterAll(() => service.stop());

  it.each([
    ['refund', AUTOMATIC, 'refunded', ['charge', 'refund']],
    ['void', MANUAL, 'canceled', ['authorization', 'void']],
  ] as const)('a %s that never reached the gateway is sent again', async (call, body, outcome, effects) => {
    const key = newKey();
    await pay(key, body);
    play({ calls: [call], next: 1, faults: { silence_before: 1 } });
    expect(await reverseUntilFinal(key)).toMatchObject({ status: 201, json: { outcome } });
    expect(await kindsOf(key)).toEqual(effects);
  });

  it('steps that got lost, however many, do not use up the time for the next one', async () => {
    const key = newKey();
    await pay(key, AUTOMATIC);
    play({ calls: ['refund'], next: 6, faults: { silence_before: 1 } });
    expect(await reverseUntilFinal(key)).toMatchObject({ status: 201, json: { outcome: 'refunded' } });
    expect(await kindsOf(key)).toEqual(['charge', 'refund']);
  });

  it('a refund that fails while the reversal looks is noticed, and its money still goes back', async () => {
    const key = newKey();
    const refundKey = newKey();
    const paid = await pay(key, AUTOMATIC);
    play({ calls: ['refund'], next: 1, faults: { silence_before: 1 } });
    const path = `/v1/payments/${String(paid.json['transaction_id'])}/refunds`;
    expect(await post({ baseUrl }, path, { key: refundKey })).toMatchObject({ status: 202 });
    // From now on only the reversal looks at that refund.
    await service.evidence.query('DELETE FROM idempotency_keys WHERE idempotency_key = $1', [refundKey]);

    const holder = service.app.get(DataSource).createQueryRunner();
    await holder.startTransaction();
    await holder.query('LOCK TABLE refunds IN ACCESS EXCLUSIVE MODE');
    const reversing = reverseUntilFinal(key);
    // It has read the payment, whose whole amount is reserved for refunds, and now reads the refunds.
    await eventually('the reversal looks at the refunds', async () => {
      const waiting = await service.evidence.query(
        `SELECT FROM pg_locks WHERE relation = 'refunds'::regclass AND NOT granted`,
      );
      return waiting.length > 0;
    });
    // What the settlement of a declined refund does, in one transaction.
    await holder.query(
      `UPDATE refunds SET status = 'failed', failure_code = 'refund_declined', failure_message = 'no'
       WHERE idempotency_key = $1`,
      [refundKey],
    );
    await holder.query(`UPDATE payments SET amount_refunded = 0 WHERE idempotency_key = $1`, [key]);
    await holder.commitTransaction();
    await holder.release();
    expect(await reversing).toMatchObject({ status: 201, json: { outcome: 'refunded' } });
    expect(await kindsOf(key)).toEqual(['charge', 'refund']);
  });

  it('a continued reversal that waits for others says so at once, and leaves recovery its time for them', async () => {
    const key = newKey();
    const reversalKey = newKey();
    await pay(key, { ...AUTOMATIC, payment_method: 'pm_gateway_timeout_after_charge' });
    play({ lookups: { faults: { error: 1 } } });
    expect(await reverse(key, reversalKey)).toMatchObject({ status: 202 });
    // On a busy machine one attempt may take longer. But if the reversal waits, every attempt takes the gateway's whole
    // time.
    const reply = await eventually('it is carried on, and does not stay', async () => {
      const startedMs = performance.now();
      const carriedOn = await reverse(key, reversalKey);
      const stayed = performance.now() - startedMs > GATEWAY_TIMEOUT_MS / 2;
      return carriedOn.status === 202 && !stayed && carriedOn;
    });
    expect(reply.json).toMatchObject({ status: 'pending', outcome: null });
  });

  it.each(['capture', 'cancel', 'refund'] as const)(
    'a %s of a payment that was removed meanwhile releases its key',
    async (operation) => {
      const idempotencyKey = newKey();
      // The route saw the payment, which is gone by now: its charge was refused before it had any effect.
      const transactionId = uuidv7();
      const running = service.app.get(OperationRunner).run({
        operation,
        merchantId: MERCHANT,
        idempotencyKey,
        params: { transactionId },
        body: {},
        command: { transactionId, amountMinor: null, reason: null },
        requestId: randomUUID(),
        receivedAt: new Date(),
        waitMs: 0,
        lifetimeMs: null,
        announceKey: () => undefined,
      });
      await expect(running).rejects.toMatchObject({ refusal: { code: 'service_unavailable' } });
      expect(await service.evidence.claim(idempotencyKey)).toMatchObject({ status: 'released' });
    },
  );

  function play(script: object | null): void {
    service.app.get(SandboxGatewayHost).engine?.play(script && parseSandboxScript(script));
  }

  function pay(key: string, body: object): Promise<Reply> {
    return post({ baseUrl }, '/v1/payments', { key, body });
  }

  function reverse(key: string, reversalKey: string): Promise<Reply> {
    return post({ baseUrl }, '/v1/reversals', { key: reversalKey, body: { idempotency_key: key } });
  }

  async function reverseUntilFinal(key: string): Promise<Reply> {
    const reversalKey = newKey();
    return eventually('the reversal ends', async () => {
      const reply = await reverse(key, reversalKey);
      return reply.status !== 202 && reply.json['retry'] !== 'same_key' && reply;
    });
  }

  async function kindsOf(key: string): Promise<string[]> {
    return (await service.evidence.effects(key)).map(({ kind }) => kind);
  }
});
