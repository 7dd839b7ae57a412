import { charge, chargeUntilFinal, isReplay, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE, type ServiceProcess } from '../support/service-process.js';
import { STRIKING, type StrikePoint, WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

const POINTS: readonly StrikePoint[] = [
  'after the claim',
  'in the gateway call, before its effect',
  'in the gateway call, after its effect',
  'after the gateway answered',
];

describe('an owner that is paused (SIGSTOP) past its lease', () => {
  let fleet: ServiceFleet;
  let awake: ServiceProcess;
  /** One per test. Started together, they take half the time. */
  const sleepers = new Map<string, { key: string; sleeper: ServiceProcess }>();

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_LEASE: '2s' });
    const starts = [...POINTS, 'nobody took over'].map(async (test) => {
      const key = newKey();
      const point = POINTS.find((each) => each === test) ?? 'after the claim';
      sleepers.set(test, { key, sleeper: await startSleeper(point, key) });
    });
    [awake] = await Promise.all([fleet.start(), ...starts]);
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  it.each(POINTS)(
    '%s: changes nothing when it wakes, and its own client gets the answer that the other process made',
    async (point) => {
      const { key, sleeper } = sleepers.get(point)!;
      const itsClient = charge(sleeper, key);
      await sleeper.says(STRIKING);

      const answer = await chargeUntilFinal(awake, key);
      expect(answer.status).toBe(201);
      await expectChargedOnce(fleet.evidence, key);
      const before = await everythingAbout(key);

      sleeper.signal('SIGCONT');
      const late = await itsClient;
      expect({ status: late.status, body: late.body }).toEqual({ status: 201, body: answer.body });
      expect(isReplay(late)).toBe(true);
      // A fresh request shows that the sleeper has finished whatever it had left to do.
      expect((await charge(sleeper, newKey())).status).toBe(201);
      expect(await everythingAbout(key)).toEqual(before);
      await sleeper.kill();
    },
  );

  it('before its gateway call, with no take-over: it no longer calls, and answers that nothing was done', async () => {
    const { key, sleeper } = sleepers.get('nobody took over')!;
    const itsClient = charge(sleeper, key);
    await sleeper.says(STRIKING);
    awake.signal('SIGSTOP');
    await eventually('the lease ends', async () => (await fleet.evidence.claim(key))?.lease_expired);

    sleeper.signal('SIGCONT');
    const late = await itsClient;
    expect(late.status).toBe(503);
    expect(late.json).toMatchObject({ code: 'service_unavailable', effect: 'none', retry: 'same_key' });
    expect(late.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(await fleet.evidence.payments(key)).toEqual([]);
    awake.signal('SIGCONT');

    expect((await chargeUntilFinal(awake, key)).status).toBe(201);
    await expectChargedOnce(fleet.evidence, key);
    await sleeper.kill();
  });

  function startSleeper(point: StrikePoint, key: string): Promise<ServiceProcess> {
    return fleet.start({
      program: CRASHING_SERVICE,
      env: { STRIKE_POINT: point, STRIKE_KEYS: key, STRIKE_SIGNAL: 'SIGSTOP', ...WITHOUT_RECOVERY_WORKER },
    });
  }

  /** Every column of every row of a key, row versions included, so that even a write without a change shows. */
  async function everythingAbout(key: string): Promise<unknown> {
    const { evidence } = fleet;
    const [payment] = await evidence.payments(key);
    const id = [payment?.transaction_id];
    return {
      claim: await evidence.query('SELECT xmin, * FROM idempotency_keys WHERE idempotency_key = $1', [key]),
      payment: await evidence.query('SELECT xmin, * FROM payments WHERE transaction_id = $1', id),
      events: await evidence.query('SELECT xmin, * FROM events WHERE transaction_id = $1', id),
      ledger: await evidence.query('SELECT xmin, * FROM ledger_entries WHERE transaction_id = $1', id),
      effects: await evidence.effects(key),
    };
  }
});
