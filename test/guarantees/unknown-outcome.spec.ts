import { AUTOMATIC, get, post } from '../support/api.js';
import { charge, chargeBody, chargeUntilFinal, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE, type ServiceProcess } from '../support/service-process.js';
import { WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

const AFTER = chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' });
const ERROR_AFTER = chargeBody({ payment_method: 'pm_gateway_error_after_charge' });
const BEFORE = chargeBody({ payment_method: 'pm_gateway_timeout_before_charge' });

describe('a gateway that does not say what it did', () => {
  let fleet: ServiceFleet;
  /** Resolves nothing without a request. */
  let passive: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_LEASE: '5s', GATEWAY_TIMEOUT: '500ms' });
    passive = await fleet.start({ program: CRASHING_SERVICE, env: WITHOUT_RECOVERY_WORKER });
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  it.each([AFTER, ERROR_AFTER])(
    'leaves the payment pending, and the retry finds that it was charged once: %j',
    async (body) => {
      const key = newKey();
      const first = await charge(passive, key, { body });
      expect(first).toMatchObject({
        status: 202,
        json: { status: 'pending', amount_captured: 0, failure: null },
      });
      expect(first.headers.get('idempotent-replayed')).toBe('false');
      expect(await fleet.evidence.payments(key)).toMatchObject([{ status: 'pending' }]);
      expect(await unknownOutcomes()).toBeGreaterThan(0);

      const answer = await charge(passive, key, { body });
      expect(answer).toMatchObject({ status: 201, json: { status: 'completed' } });
      expect(answer.json['transaction_id']).toBe(first.json['transaction_id']);
      expect(await charge(passive, key, { body })).toMatchObject({ status: 201, body: answer.body });
      await expectChargedOnce(fleet.evidence, key);
      expect(await unknownOutcomes()).toBe(0);
    },
  );

  it('and did nothing: the retry finds that out, the answer is final, and a late call has no effect', async () => {
    const key = newKey();
    expect(await charge(passive, key, { body: BEFORE })).toMatchObject({ status: 202 });
    const answer = await charge(passive, key, { body: BEFORE });
    expect(answer).toMatchObject({
      status: 402,
      json: { code: 'not_processed', effect: 'none', retry: 'new_key' },
    });
    expect(await charge(passive, key, { body: BEFORE })).toMatchObject({ status: 402, body: answer.body });
    expect(await fleet.evidence.payments(key)).toMatchObject([{ status: 'failed' }]);
    expect(await fleet.evidence.effects(key)).toEqual([]);
  });

  it('gets an inquiry from the recovery worker when the client never comes back', async () => {
    const keys = [newKey(), newKey()] as const;
    await charge(passive, keys[0], { body: AFTER });
    await charge(passive, keys[1], { body: BEFORE });
    const worker = await fleet.start();
    await eventually('both are known', async () => (await unknownOutcomes()) === 0);
    await expectChargedOnce(fleet.evidence, keys[0]);
    expect(await fleet.evidence.payments(keys[1])).toMatchObject([{ status: 'failed' }]);
    await worker.kill();
  });

  it('shows up in the metrics: how many outcomes are open, and how old the oldest is', async () => {
    const key = newKey();
    await charge(passive, key, { body: AFTER });
    const first = await shown();
    expect(first.health).toMatchObject({ count: 1 });
    expect(first.metrics.count).toBe(1);
    await eventually('it gets older', async () => {
      const { health, metrics } = await shown();
      return (
        health.oldest_seconds > first.health.oldest_seconds &&
        metrics.oldest > first.metrics.oldest &&
        metrics.oldest > 0.1
      );
    });
    expect(await charge(passive, key, { body: AFTER })).toMatchObject({ status: 201 });
    expect(await shown()).toEqual({
      health: { count: 0, oldest_seconds: 0 },
      metrics: { count: 0, oldest: 0 },
    });
  });

  it('gets the same gateway key while the outcome is open, and another for the client’s next key', async () => {
    const [key, other] = [newKey(), newKey()];
    await charge(passive, key, { body: AFTER });
    const asked = (await fleet.evidence.claim(key))?.gateway_key;
    expect(await charge(passive, key, { body: AFTER })).toMatchObject({ status: 201 });
    await chargeUntilFinal(passive, other, { body: AFTER });
    const [ofKey, ofOther] = await Promise.all(
      [key, other].map(async (each) =>
        (await fleet.evidence.effects(each)).map(({ gatewayKey }) => gatewayKey),
      ),
    );
    expect(ofKey).toEqual([asked]);
    expect(ofOther).toHaveLength(1);
    expect(ofOther).not.toEqual(ofKey);
  });

  it('gets no inquiry about a refusal that came before any effect', async () => {
    const key = newKey();
    const body = { ...AUTOMATIC, payment_method: 'pm_gateway_unavailable' };
    expect(await post(passive, '/v1/payments', { key, body })).toMatchObject({
      status: 503,
      json: { effect: 'none' },
    });
    expect(await unknownOutcomes()).toBe(0);
  });

  async function unknownOutcomes(): Promise<number> {
    return (await shown()).health.count;
  }

  /** The metrics that an operator sees. */
  async function shown() {
    const { json } = await get(passive, '/health/ready');
    const body = await (await fetch(`${passive.baseUrl}/metrics`)).text();
    const metric = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(body)?.[1]);
    return {
      health: json['unknown_outcomes'] as { count: number; oldest_seconds: number },
      metrics: {
        count: metric('hapax_unknown_outcomes'),
        oldest: metric('hapax_unknown_outcomes_oldest_seconds'),
      },
    };
  }
});
