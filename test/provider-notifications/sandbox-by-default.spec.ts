import { charge, chargeBody, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { type ServiceProcess } from '../support/service-process.js';

const LOST = chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' });

/** Time for a notification that should not come. */
const MOMENT_MS = 300;

describe('the service with the sandbox gateway in its process, as it starts by default', () => {
  let fleet: ServiceFleet;
  let service: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ GATEWAY_TIMEOUT: '1s', SANDBOX_GATEWAY_PORT: '0' });
    service = await fleet.start();
  });
  afterAll(() => fleet.end());

  const told = async (key: string): Promise<string[]> => {
    const rows = await fleet.evidence.query<{ type: string }>(
      `SELECT n.type FROM gateway_notifications n JOIN payments p ON p.transaction_id = n.resource_id
       WHERE p.idempotency_key = $1`,
      [key],
    );
    return rows.map(({ type }) => type);
  };

  it('is notified of a charge whose answer was lost, and knows its end before it would have inquired', async () => {
    const key = newKey();
    expect(await charge(service, key, { body: LOST })).toMatchObject({ status: 202 });
    await eventually('it is known', async () => {
      const [payment] = await fleet.evidence.payments(key);
      return payment?.status === 'completed';
    });
    await expectChargedOnce(fleet.evidence, key);
    expect(await told(key)).toEqual(['charge.completed']);
    const [claim] = await fleet.evidence.query<{ early: boolean }>(
      `SELECT k.recover_after < k.unknown_since + interval '500 milliseconds' AS early
       FROM idempotency_keys k WHERE k.idempotency_key = $1`,
      [key],
    );
    expect(claim).toEqual({ early: true });
  });

  it('is not notified of an ordinary charge, which would only slow it down', async () => {
    const key = newKey();
    expect(await charge(service, key)).toMatchObject({ status: 201 });
    await new Promise((resolve) => setTimeout(resolve, MOMENT_MS));
    expect(await told(key)).toEqual([]);
  });
});
