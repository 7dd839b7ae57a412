import { charge, chargeBody, chargeUntilFinal, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE } from '../support/service-process.js';
import { GATEWAY_UNREACHABLE, WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

describe('an effect whose owner was killed before it could settle', () => {
  let fleet: ServiceFleet;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_LEASE: '1s' });
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  /** The gateway has taken the money, and no process is left that knows it. */
  async function chargeAndDie(key: string): Promise<void> {
    const doomed = await fleet.start({
      program: CRASHING_SERVICE,
      env: {
        STRIKE_POINT: 'in the gateway call, after its effect',
        STRIKE_KEYS: key,
        ...WITHOUT_RECOVERY_WORKER,
      },
    });
    await expect(charge(doomed, key)).rejects.toThrow('fetch failed');
    expect(await doomed.ended()).toBe('SIGKILL');
    expect(await fleet.evidence.effects(key)).toHaveLength(1);
  }

  it('is not denied by a retry that cannot reach the gateway, and is settled once a retry can', async () => {
    const key = newKey();
    await chargeAndDie(key);
    await eventually('the lease ends', async () => (await fleet.evidence.claim(key))?.lease_expired);

    const cutOff = await fleet.start({
      program: CRASHING_SERVICE,
      env: { ...GATEWAY_UNREACHABLE, ...WITHOUT_RECOVERY_WORKER },
    });
    const reply = await charge(cutOff, key);
    // The refused call had no effect, but an earlier call for the same payment did.
    expect(reply.json['effect']).not.toBe('none');
    expect(await fleet.evidence.payments(key)).toMatchObject([{ status: 'pending' }]);
    await cutOff.kill();

    const service = await fleet.start();
    await eventually(
      'recovery settles',
      async () => (await fleet.evidence.claim(key))?.status === 'completed',
    );
    expect((await chargeUntilFinal(service, key)).status).toBe(201);
    await expectChargedOnce(fleet.evidence, key);
    await service.kill();
  });

  it('is not forgotten by a recovery worker that cannot reach the gateway', async () => {
    const key = newKey();
    await chargeAndDie(key);

    const cutOff = await fleet.start({ program: CRASHING_SERVICE, env: GATEWAY_UNREACHABLE });
    // A third attempt, or another state, shows that the second one has ended.
    const claim = await eventually('recovery has tried', async () => {
      const found = await fleet.evidence.claim(key);
      return found !== undefined && (found.attempt > 2 || found.status !== 'in_progress') && found;
    });
    await cutOff.kill();
    expect(claim.status).toBe('in_progress');
    expect(await fleet.evidence.payments(key)).toMatchObject([{ status: 'pending' }]);

    const service = await fleet.start();
    await eventually(
      'recovery settles',
      async () => (await fleet.evidence.claim(key))?.status === 'completed',
    );
    await expectChargedOnce(fleet.evidence, key);
    await service.kill();
  });

  it('ends with the gateway’s word that it has no trace of it, if the gateway refuses the call for good', async () => {
    const key = newKey();
    const body = chargeBody({ payment_method: 'pm_gateway_unavailable' });
    const doomed = await fleet.start({
      program: CRASHING_SERVICE,
      env: {
        STRIKE_POINT: 'in the gateway call, before its effect',
        STRIKE_KEYS: key,
        ...WITHOUT_RECOVERY_WORKER,
      },
    });
    await expect(charge(doomed, key, { body })).rejects.toThrow('fetch failed');
    const service = await fleet.start();
    const reply = await chargeUntilFinal(service, key, { body });
    expect([reply.status, reply.json['code'], reply.json['effect']]).toEqual([402, 'not_processed', 'none']);
    expect((await fleet.evidence.claim(key))?.attempt).toBeGreaterThan(6);
    expect(await fleet.evidence.payments(key)).toMatchObject([{ status: 'failed' }]);
    expect(await fleet.evidence.effects(key)).toEqual([]);
    await service.kill();
  });
});
