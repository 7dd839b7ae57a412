import { charge, chargeUntilFinal, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { CRASHING_SERVICE, type ServiceProcess } from '../support/service-process.js';
import { type StrikePoint, WITHOUT_RECOVERY_WORKER } from '../support/strike-points.js';

/** What a crash must leave behind. It proves that the crash happened where the test says. */
interface Left {
  claim: 'in_progress' | 'completed' | undefined;
  payment: 'pending' | 'completed' | undefined;
  effects: 0 | 1;
}

const NOTHING: Left = { claim: undefined, payment: undefined, effects: 0 };
const CLAIMED: Left = { claim: 'in_progress', payment: 'pending', effects: 0 };
const CHARGED: Left = { claim: 'in_progress', payment: 'pending', effects: 1 };
const SETTLED: Left = { claim: 'completed', payment: 'completed', effects: 1 };

describe('a service that is killed (SIGKILL) while it charges', () => {
  let fleet: ServiceFleet;
  /** Learns of a lost claim only from its client's retry. */
  let retried: ServiceProcess;
  /** Looks for lost claims by itself. */
  let recovering: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ IDEMPOTENCY_LEASE: '1s' });
    [retried, recovering] = await Promise.all([
      fleet.start({ program: CRASHING_SERVICE, env: WITHOUT_RECOVERY_WORKER }),
      fleet.start(),
    ]);
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  it.each<[StrikePoint, Left]>([
    ['after the claim', CLAIMED],
    ['in the gateway call, before its effect', CLAIMED],
    ['in the gateway call, after its effect', CHARGED],
    ['after the gateway answered', CHARGED],
    ['after the settle, before the answer', SETTLED],
  ])(
    '%s: one payment, one effect, one event, by the client’s retry and by recovery alone',
    async (point, left) => {
      const keyOfRetry = newKey('retried');
      const keyOfNobody = newKey('abandoned');
      recovering.signal('SIGSTOP');
      await crash(point, [keyOfRetry, keyOfNobody]);
      expect(await leftBehind(keyOfRetry)).toEqual(left);
      expect(await leftBehind(keyOfNobody)).toEqual(left);

      const answer = await chargeUntilFinal(retried, keyOfRetry);
      expect(answer.status).toBe(201);
      await expectChargedOnce(fleet.evidence, keyOfRetry);

      expect(await leftBehind(keyOfNobody)).toEqual(left);
      recovering.signal('SIGCONT');
      await eventually(
        'recovery settles',
        async () => (await fleet.evidence.claim(keyOfNobody))?.status === 'completed',
      );
      await expectChargedOnce(fleet.evidence, keyOfNobody);

      await expectFinal(keyOfRetry, answer.body);
      await expectFinal(keyOfNobody);
    },
  );

  it.each<StrikePoint>(['before the claim', 'in the middle of the claim’s transaction'])(
    '%s: nothing is left that could charge by itself, and the retry charges once',
    async (point) => {
      const key = newKey();
      await crash(point, [key]);
      expect(await leftBehind(key)).toEqual(NOTHING);

      const answer = await chargeUntilFinal(retried, key);
      expect(answer.status).toBe(201);
      expect(answer.headers.get('idempotent-replayed')).toBe('false');
      await expectFinal(key, answer.body);
    },
  );

  it('in the middle of the settle’s transaction: none of it is kept, and recovery settles all of it', async () => {
    const key = newKey();
    await crash('in the middle of the settle’s transaction', [key]);
    await eventually(
      'recovery settles',
      async () => (await fleet.evidence.claim(key))?.status === 'completed',
    );
    expect((await fleet.evidence.claim(key))?.attempt).toBeGreaterThan(1);
    await expectFinal(key);
  });

  it('again and again under one key: still one payment and one effect', async () => {
    const key = newKey();
    for (const point of ['in the gateway call, after its effect', 'after the gateway answered'] as const) {
      recovering.signal('SIGSTOP');
      await crash(point, [key]);
    }
    recovering.signal('SIGCONT');
    await eventually(
      'the worker settles it',
      async () => (await fleet.evidence.claim(key))?.status === 'completed',
    );
    await expectFinal(key);
    expect((await fleet.evidence.claim(key))?.attempt).toBeGreaterThan(2);
  });

  /** Sends the keys to a service that is killed when they reach `point`, and waits until it is dead. */
  async function crash(point: StrikePoint, keys: string[]): Promise<void> {
    const doomed = await fleet.start({
      program: CRASHING_SERVICE,
      env: { STRIKE_POINT: point, STRIKE_KEYS: keys.join(' '), ...WITHOUT_RECOVERY_WORKER },
    });
    const replies = keys.map((key) => chargeUntilFinal(doomed, key));
    const outcomes = await Promise.allSettled(replies);
    expect(outcomes.map(({ status }) => status)).toEqual(keys.map(() => 'rejected'));
    expect(await doomed.ended()).toBe('SIGKILL');
  }

  async function leftBehind(key: string): Promise<Left> {
    const [payment] = await fleet.evidence.payments(key);
    const claim = await fleet.evidence.claim(key);
    const effects = await fleet.evidence.effects(key);
    return { claim: claim?.status, payment: payment?.status, effects: effects.length } as Left;
  }

  /** Every later request gets one and the same answer, and changes nothing. */
  async function expectFinal(key: string, body?: string): Promise<void> {
    const replies = [
      await chargeUntilFinal(recovering, key),
      await charge(retried, key),
      await charge(recovering, key),
    ];
    expect(new Set(replies.map((reply) => `${reply.status} ${reply.body}`))).toEqual(
      new Set([`201 ${body ?? replies[0]?.body}`]),
    );
    expect(replies.map((reply) => reply.headers.get('idempotent-replayed'))).toEqual([
      'true',
      'true',
      'true',
    ]);
    await expectChargedOnce(fleet.evidence, key);
  }
});
