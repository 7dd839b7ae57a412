import { AMOUNT, charge, chargeBody, isReplay, newKey, SLOW, WAIT } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { type ServiceProcess } from '../support/service-process.js';

/** How long `pm_gateway_slow` takes. */
const SLOW_MS = 3_000;
const SLOW_CHARGES = 60;

describe('a gateway that answers slowly', () => {
  let fleet: ServiceFleet;
  let here: ServiceProcess;
  let elsewhere: ServiceProcess;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ DATABASE_POOL_SIZE: '10' });
    [here, elsewhere] = await Promise.all([fleet.start(), fleet.start()]);
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  /** Resolves when the gateway has taken the money, while the first request still waits for the answer. */
  const atTheGateway = (key: string) =>
    eventually('the charge is at the gateway', async () => (await fleet.evidence.effects(key)).length > 0);

  it('meanwhile a duplicate gets 409, another body 422, and a request that waits the first answer', async () => {
    const key = newKey();
    const first = charge(here, key, { body: SLOW });
    await atTheGateway(key);
    const waiting = [here, elsewhere].map((service) => charge(service, key, { body: SLOW, headers: WAIT }));

    for (const service of [here, elsewhere]) {
      const duplicate = await charge(service, key, { body: SLOW });
      expect(duplicate.status).toBe(409);
      expect(duplicate.json).toMatchObject({
        code: 'idempotency_key_in_progress',
        retry: 'same_key',
        effect: 'unknown',
      });
      expect(duplicate.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      expect(duplicate.headers.get('idempotent-replayed')).toBe('false');

      const otherBody = chargeBody({ ...SLOW, amount: AMOUNT + 1 });
      for (const headers of [{}, WAIT]) {
        const reused = await charge(service, key, { body: otherBody, headers });
        expect(reused.status).toBe(422);
        expect(reused.json).toMatchObject({
          code: 'idempotency_key_reused',
          effect: 'none',
          retry: 'new_key',
        });
        expect(reused.headers.get('idempotent-replayed')).toBe('false');
      }
    }

    const answer = await first;
    expect(answer.status).toBe(201);
    expect(isReplay(answer)).toBe(false);
    const repeats = [
      ...(await Promise.all(waiting)),
      await charge(here, key, { body: SLOW }),
      await charge(elsewhere, key, { body: SLOW }),
    ];
    for (const repeat of repeats) {
      expect({ status: repeat.status, body: repeat.body }).toEqual({ status: 201, body: answer.body });
      expect(repeat.headers.get('location')).toBe(answer.headers.get('location'));
      expect(repeat.headers.get('content-type')).toBe(answer.headers.get('content-type'));
      expect(isReplay(repeat)).toBe(true);
    }
    await expectChargedOnce(fleet.evidence, key);
  });

  it('a duplicate waits no longer than its client asks', async () => {
    const key = newKey();
    const first = charge(here, key, { body: SLOW });
    await atTheGateway(key);
    const reply = await charge(elsewhere, key, { body: SLOW, headers: { prefer: 'wait=1' } });
    expect(reply.status).toBe(409);
    expect(reply.headers.get('preference-applied')).toBe('wait=1');
    expect((await first).status).toBe(201);
  });

  it('60 slow charges do not delay a fast one with a pool of 10, and no transaction stays open meanwhile', async () => {
    const keys = Array.from({ length: SLOW_CHARGES }, () => newKey('slow'));
    const before = fleet.evidence.allEffects().length;
    const answered: number[] = [];
    const slow = keys.map(async (key) => {
      const reply = await charge(here, key, { body: SLOW });
      answered.push(reply.status);
    });
    await eventually(
      'all are at the gateway',
      () => fleet.evidence.allEffects().length === before + SLOW_CHARGES,
    );
    const [{ now }] = (await fleet.evidence.query<{ now: Date }>('SELECT clock_timestamp() AS now')) as [
      { now: Date },
    ];

    const start = performance.now();
    const fast = await charge(here, newKey('fast'));
    const tookMs = performance.now() - start;
    // A transaction that waits for the gateway is older than the moment when all had arrived; a worker's statement is
    // not.
    const open = await fleet.evidence.query(
      `SELECT state, query FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'hapax' AND xact_start <= $1`,
      [now],
    );

    expect(fast.status).toBe(201);
    expect(answered).toEqual([]);
    expect(tookMs).toBeLessThan(SLOW_MS / 3);
    expect(open).toEqual([]);
    await Promise.all(slow);
    expect(answered).toEqual(keys.map(() => 201));
    for (const key of keys) await expectChargedOnce(fleet.evidence, key);
  });

  it('a client that hangs up loses nothing: the charge completes, and the retry is a replay', async () => {
    const [retriedHere, retriedElsewhere, abandoned] = [newKey(), newKey(), newKey()];
    const keys = [retriedHere, retriedElsewhere, abandoned];
    const hangUp = new AbortController();
    const first = keys.map((key) => charge(here, key, { body: SLOW, signal: hangUp.signal }));
    const refused = Promise.all(first.map((reply) => expect(reply).rejects.toThrow('aborted')));
    await Promise.all(keys.map(atTheGateway));
    hangUp.abort();
    await refused;

    const retries = await Promise.all([
      charge(here, retriedHere, { body: SLOW, headers: WAIT }),
      charge(elsewhere, retriedElsewhere, { body: SLOW, headers: WAIT }),
    ]);
    for (const retry of retries) {
      expect(retry.status).toBe(201);
      expect(isReplay(retry)).toBe(true);
    }
    await eventually('the abandoned charge is completed', async () => {
      return (await fleet.evidence.claim(abandoned))?.status === 'completed';
    });
    for (const key of keys) {
      await expectChargedOnce(fleet.evidence, key);
      // The request went on by itself: its claim was not taken over.
      expect((await fleet.evidence.claim(key))?.attempt).toBe(1);
    }
  });

  it('a waiting duplicate that hangs up does not disturb the first request', async () => {
    const key = newKey();
    const first = charge(here, key, { body: SLOW });
    await atTheGateway(key);
    const hangUp = new AbortController();
    const waiting = [here, elsewhere].map((service) =>
      charge(service, key, { body: SLOW, headers: WAIT, signal: hangUp.signal }),
    );
    const refused = Promise.all(waiting.map((reply) => expect(reply).rejects.toThrow('aborted')));
    // By now the service knows both: this request came after them, on the same machine.
    expect((await charge(here, key, { body: SLOW })).status).toBe(409);
    hangUp.abort();
    await refused;
    expect((await first).status).toBe(201);
    await expectChargedOnce(fleet.evidence, key);
  });
});
