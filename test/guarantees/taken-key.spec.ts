import { randomUUID } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { CONFIG, type Config } from '../../src/config/config.js';
import { SANDBOX_MERCHANT_ID } from '../../src/auth/sandbox-seed.js';
import { SandboxGatewayHost, sandboxBooksPath } from '../../src/gateways/sandbox/sandbox-gateway.host.js';
import { GatewayKeys } from '../../src/idempotency/gateway-key.js';
import { RecoveryWorker } from '../../src/idempotency/recovery.worker.js';
import { withDefaults } from '../../src/payments/payment.dto.js';
import { charge, chargeBody, newKey } from '../support/client.js';
import { TestApp } from '../support/test-app.js';

/** The provider knows our key from a call with other parameters: an earlier version's, or another deployment's. */
describe('a gateway that already has something under our key', () => {
  let service: TestApp;
  let target: { baseUrl: string };

  beforeAll(async () => {
    service = await TestApp.start({ IDEMPOTENCY_LEASE: '10s', GATEWAY_TIMEOUT: '500ms' });
    target = { baseUrl: (await service.app.getUrl()).replace('[::1]', '127.0.0.1') };
    await service.app.get(RecoveryWorker)['rounds'].stop();
  });
  afterAll(() => service.stop());

  const pay = (key: string) => charge(target, key);

  /** Makes the provider act under the key of a charge that we have not sent yet. */
  async function actUnder(idempotencyKey: string, amountMinor: bigint): Promise<string> {
    const gatewayKey = service.app.get(GatewayKeys).derive({
      merchantId: SANDBOX_MERCHANT_ID,
      idempotencyKey,
      operation: 'charge',
      body: withDefaults(chargeBody() as never),
    });
    await service.app.get(SandboxGatewayHost).engine!.charge({
      gatewayKey,
      ids: { transactionId: randomUUID(), refundId: null },
      amountMinor,
      currency: 'EUR',
      paymentMethod: 'pm_card_visa',
      captureMethod: 'automatic',
    });
    return gatewayKey;
  }

  it('for the same money has our charge, which is not made again', async () => {
    const key = newKey();
    const gatewayKey = await actUnder(key, 1_999n);
    expect(await pay(key)).toMatchObject({ status: 201, json: { status: 'completed' } });
    expect(await service.evidence.effects(key)).toMatchObject([{ gatewayKey, amountMinor: 1_999n }]);
  });

  it('for other money leaves the outcome unknown, even if it says later that it has nothing', async () => {
    const key = newKey();
    const gatewayKey = await actUnder(key, 2_000n);
    expect(await pay(key)).toMatchObject({ status: 202, json: { status: 'pending' } });
    expect(await pay(key)).toMatchObject({ status: 202 });

    const { dataDir } = service.app.get<Config>(CONFIG);
    const books = new DatabaseSync(sandboxBooksPath(dataDir), { timeout: 2_000 });
    books.prepare('DELETE FROM calls WHERE idempotency_key = ?').run(gatewayKey);
    books.close();
    expect(await pay(key)).toMatchObject({ status: 202, json: { status: 'pending' } });

    // Control: if nobody had noticed that the key was taken, the payment would count as never made.
    await service.evidence.query(
      'UPDATE idempotency_keys SET gateway_key_taken = NULL WHERE idempotency_key = $1',
      [key],
    );
    expect(await pay(key)).toMatchObject({ status: 402, json: { code: 'not_processed' } });
  });
});
