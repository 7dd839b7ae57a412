import { randomUUID } from 'node:crypto';
import { SandboxGatewayHost } from '../../src/gateways/sandbox/sandbox-gateway.host.js';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';
import { script } from '../gateways/sandbox-fixture.js';
import { AUTOMATIC, MANUAL, newPayment, post } from '../support/api.js';
import { newKey, type Reply } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';
import { claimRequest, LONG_LEASE_MS, NO_LEASE_MS, WritePath } from '../support/write-path.js';

/** The statements by which the version before takes claims over, word for word. */
const TAKE_OVER_OF_VERSION_BEFORE = {
  'by recovery': `
    UPDATE idempotency_keys k
    SET attempt = k.attempt + 1, resumed = true, lease_expires_at = clock_timestamp() + 60000 * interval '1 millisecond'
    FROM (
      SELECT merchant_id, idempotency_key FROM idempotency_keys
      WHERE status = 'in_progress' AND lease_expires_at <= clock_timestamp()
        AND (recover_after IS NULL OR recover_after <= clock_timestamp())
      ORDER BY lease_expires_at LIMIT 20 FOR UPDATE SKIP LOCKED
    ) expired
    WHERE k.merchant_id = expired.merchant_id AND k.idempotency_key = expired.idempotency_key
      AND k.idempotency_key = $1
    RETURNING k.claim_id`,
  'by a reversal': `
    UPDATE idempotency_keys k
    SET attempt = k.attempt + 1, resumed = true,
      lease_expires_at = clock_timestamp() + 60000 * interval '1 millisecond'
    WHERE k.idempotency_key = $1
      AND k.status NOT IN ('completed', 'released', 'reversed') AND k.lease_expires_at <= clock_timestamp()
    RETURNING k.claim_id`,
  'by a retry': `
    INSERT INTO idempotency_keys AS k
      (merchant_id, idempotency_key, claim_id, operation, fingerprint, resource_id, lifetime_ms, status, attempt,
        lease_expires_at)
    SELECT merchant_id, idempotency_key, gen_random_uuid(), operation, fingerprint, gen_random_uuid(), lifetime_ms,
      'in_progress', 1, clock_timestamp() + 60000 * interval '1 millisecond'
    FROM idempotency_keys WHERE idempotency_key = $1
    ON CONFLICT (merchant_id, idempotency_key) DO UPDATE
      SET status = 'in_progress', attempt = k.attempt + 1, lease_expires_at = EXCLUDED.lease_expires_at,
        resumed = k.status = 'in_progress' AND (k.resumed OR k.claim_id <> EXCLUDED.claim_id),
        operation = EXCLUDED.operation, fingerprint = EXCLUDED.fingerprint, lifetime_ms = EXCLUDED.lifetime_ms,
        claim_id = CASE WHEN k.fingerprint = EXCLUDED.fingerprint THEN k.claim_id ELSE EXCLUDED.claim_id END,
        resource_id = CASE WHEN k.fingerprint = EXCLUDED.fingerprint THEN k.resource_id ELSE EXCLUDED.resource_id END
      WHERE k.status = 'released'
        OR k.status = 'in_progress' AND k.fingerprint = EXCLUDED.fingerprint
          AND (k.lease_expires_at <= clock_timestamp() OR k.claim_id = EXCLUDED.claim_id)
    RETURNING k.claim_id`,
};

describe('the version before, which knows no gateway keys', () => {
  let db: WritePath;

  beforeAll(async () => {
    db = await WritePath.open();
  });
  afterAll(() => db.close());

  const takenOver = (text: string, key: string) =>
    db.transactions.read({ name: `version before ${text.length}`, text, values: [key] });

  async function expired(gatewayKey: string | null = randomUUID()): Promise<string> {
    const request = claimRequest({ gatewayKey });
    await db.take([request], NO_LEASE_MS);
    return request.idempotencyKey;
  }

  describe.each(Object.entries(TAKE_OVER_OF_VERSION_BEFORE))('%s', (_name, sql) => {
    it('never takes over a call under a derived key, which it would repeat under another one', async () => {
      const key = await expired();
      const before = await db.query('SELECT * FROM idempotency_keys WHERE idempotency_key = $1', [key]);
      expect(await takenOver(sql, key)).toEqual([]);
      expect(await db.query('SELECT * FROM idempotency_keys WHERE idempotency_key = $1', [key])).toEqual(
        before,
      );
    });

    it('control: without the trigger, takes it over', async () => {
      const key = await expired();
      await db.query('ALTER TABLE idempotency_keys DISABLE TRIGGER idempotency_keys_take_over');
      try {
        expect(await takenOver(sql, key)).toHaveLength(1);
      } finally {
        await db.query('ALTER TABLE idempotency_keys ENABLE TRIGGER idempotency_keys_take_over');
      }
    });

    it('takes over its own calls, and what calls no gateway', async () => {
      expect(await takenOver(sql, await expired(null))).toHaveLength(1);
    });
  });

  it('takes a claim that we released, because nothing was called', async () => {
    const request = claimRequest();
    const [claim] = await db.take([request], LONG_LEASE_MS);
    await db.transactions.run((tx) => [db.claims.release(tx, [claim!])]);
    expect(await takenOver(TAKE_OVER_OF_VERSION_BEFORE['by a retry'], request.idempotencyKey)).toHaveLength(
      1,
    );
  });

  it('does not keep us from taking over our own calls, in every way', async () => {
    const request = claimRequest();
    await db.take([request], NO_LEASE_MS);
    expect(await db.take([{ ...request, claimId: randomUUID() }], NO_LEASE_MS)).toMatchObject([
      { attempt: 2 },
    ]);
    expect(await db.openClaims.takeIdle(['charge'], [request], NO_LEASE_MS)).toMatchObject([{ attempt: 3 }]);
    const taken = await db.openClaims.takeExpired(['charge'], LONG_LEASE_MS, 100);
    expect(taken.find(({ idempotencyKey }) => idempotencyKey === request.idempotencyKey)).toMatchObject({
      attempt: 4,
      gatewayKey: request.gatewayKey,
    });
  });
});

describe('what the version before has begun', () => {
  let service: TestApp;
  let target: { baseUrl: string };

  beforeAll(async () => {
    service = await TestApp.start({ IDEMPOTENCY_LEASE: '10s', GATEWAY_TIMEOUT: '200ms' });
    target = { baseUrl: (await service.app.getUrl()).replace('[::1]', '127.0.0.1') };
    await service.app.get(RecoveryWorker)['rounds'].stop();
  });
  afterAll(() => service.stop());

  const engine = () => service.app.get(SandboxGatewayHost).engine!;

  /** Begins a request whose call is lost on its way, and makes its rows what the version before writes. */
  async function begun(path: string, key: string, body: object, call: string): Promise<string> {
    engine().play(script({ calls: [call], next: 1, faults: { silence_before: 1 } }));
    expect(await post(target, path, { key, body })).toMatchObject({ status: 202 });
    engine().play(null);
    const [claim] = await service.evidence.query<{ claim_id: string; gateway_key: string }>(
      'SELECT claim_id, gateway_key FROM idempotency_keys WHERE idempotency_key = $1',
      [key],
    );
    const { claim_id, gateway_key } = claim!;
    for (const [table, column] of [
      ['payments', 'claim_id'],
      ['payments', 'held_by'],
      ['refunds', 'claim_id'],
    ] as const) {
      await service.evidence.query(`UPDATE ${table} SET ${column} = $1 WHERE ${column} = $2`, [
        claim_id,
        gateway_key,
      ]);
    }
    await service.evidence.query(
      'UPDATE idempotency_keys SET gateway_key = NULL, unknown_since = NULL WHERE idempotency_key = $1',
      [key],
    );
    return claim_id;
  }

  const ended = async (path: string, key: string, body: object): Promise<Reply> =>
    post(target, path, { key, body, headers: { prefer: 'wait=5' } });

  it.each([false, true])(
    'a charge goes on under the key and with the id that it began with; called before: %s',
    async (wasCalled) => {
      const key = newKey();
      const claimId = await begun('/v1/payments', key, AUTOMATIC, 'charge');
      const [payment] = await service.evidence.payments(key);
      const ids = { transactionId: payment!.transaction_id, refundId: null };
      if (wasCalled) {
        await engine().charge({
          gatewayKey: claimId,
          ids,
          amountMinor: 1_000n,
          currency: 'EUR',
          paymentMethod: 'pm_card_visa',
          captureMethod: 'automatic',
        });
      }
      expect(await ended('/v1/payments', key, AUTOMATIC)).toMatchObject({ status: 201 });
      expect(await service.evidence.effects(key)).toMatchObject([
        { kind: 'charge', gatewayKey: claimId, transactionId: ids.transactionId },
      ]);
    },
  );

  it.each([
    ['capture', 'capture', MANUAL, { amount: 600 }],
    ['cancel', 'void', MANUAL, {}],
    ['refunds', 'refund', AUTOMATIC, { amount: 300 }],
  ])('so does a %s', async (route, call, body, command) => {
    const id = await newPayment(target, body);
    const [path, key] = [`/v1/payments/${id}/${route}`, newKey()];
    const claimId = await begun(path, key, command, call);
    const reply = await ended(path, key, command);
    expect(reply.status).toBeLessThan(202);
    const [, effect, ...others] = await service.evidence.effectsOf(id);
    expect([effect, others]).toMatchObject([{ kind: call, gatewayKey: claimId, transactionId: id }, []]);
    expect(effect?.refundId ?? null).toBe(reply.json['refund_id'] ?? null);
  });

  it.each([
    ['its derived key', false],
    ['its id, if the version before has begun it', true],
  ])('the steps of a reversal are named after %s', async (_name, isOld) => {
    const [key, reversed] = [newKey(), newKey()];
    // A payment whose outcome is unknown: the reversal begins, and cannot take a step yet.
    engine().play(
      script({ calls: ['charge'], faults: { silence_after: 1 }, lookups: { faults: { error: 1 } } }),
    );
    await post(target, '/v1/payments', { key: reversed, body: AUTOMATIC });
    const body = { idempotency_key: reversed };
    expect(await post(target, '/v1/reversals', { key, body })).toMatchObject({ status: 202 });
    engine().play(null);
    if (isOld) {
      await service.evidence.query('UPDATE reversals SET steps_key = NULL WHERE idempotency_key = $1', [key]);
    }
    await eventually('it has ended', async () => (await ended('/v1/reversals', key, body)).status === 201);
    const [row] = await service.evidence.query<{
      reversal_id: string;
      steps_key: string | null;
      step: string;
    }>(
      `SELECT v.reversal_id, v.steps_key, r.idempotency_key AS step
       FROM reversals v JOIN refunds r USING (merchant_id, transaction_id) WHERE v.idempotency_key = $1`,
      [key],
    );
    expect(row?.steps_key === null).toBe(isOld);
    expect(row?.step).toBe(`reversal ${row?.steps_key ?? row?.reversal_id} refund 1`);
  });
});
