import { charge, chargeUntilFinal, newKey, SLOW } from '../support/client.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE, type ServiceProcess } from '../support/service-process.js';
import { WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

describe('a gateway that takes the money and does not say so in time', () => {
  let fleet: ServiceFleet;
  /** Listens to the gateway for less than `pm_gateway_slow` takes. */
  let impatient: ServiceProcess;
  let patient: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create();
    [impatient, patient] = await Promise.all([
      fleet.start({
        program: CRASHING_SERVICE,
        env: { ...WITHOUT_RECOVERY_WORKER, IDEMPOTENCY_LEASE: '5s', GATEWAY_TIMEOUT: '500ms' },
      }),
      fleet.start({ program: CRASHING_SERVICE, env: WITHOUT_RECOVERY_WORKER }),
    ]);
  });
  afterAll(() => fleet.end());

  it('leaves the payment pending, is asked again under the same key, and in the end has charged once', async () => {
    const key = newKey();
    for (let tries = 1; tries <= 2; tries += 1) {
      const reply = await charge(impatient, key, { body: SLOW });
      expect(reply.status).toBe(202);
      expect(reply.json).toMatchObject({ status: 'pending', amount_captured: 0, failure: null });
      expect(reply.headers.get('idempotent-replayed')).toBe('false');
      expect(reply.headers.get('location')).toBe(`/v1/payments/${String(reply.json['transaction_id'])}`);
      expect(await fleet.evidence.payments(key)).toMatchObject([{ status: 'pending' }]);
      expect(await fleet.evidence.effects(key)).toHaveLength(1);
      // Whoever asks next may find out: the claim is not kept until its lease would have ended.
      expect(await fleet.evidence.claim(key)).toMatchObject({ status: 'in_progress', lease_expired: true });
    }

    const answer = await chargeUntilFinal(patient, key, { body: SLOW });
    expect(answer.status).toBe(201);
    const replay = await charge(impatient, key, { body: SLOW });
    expect([replay.status, replay.body]).toEqual([201, answer.body]);
    await expectChargedOnce(fleet.evidence, key);
    await expectBooksToAgree(fleet.evidence);
  });
});
