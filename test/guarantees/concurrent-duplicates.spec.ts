import {
  AMOUNT,
  charge,
  chargeBody,
  chargeUntilFinal,
  isReplay,
  newKey,
  type Reply,
  SLOW,
} from '../support/client.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { type ServiceProcess } from '../support/service-process.js';

const REQUESTS = 50;

describe('duplicates at the same moment, over two service processes on one database', () => {
  let fleet: ServiceFleet;
  let services: [ServiceProcess, ServiceProcess];

  beforeAll(async () => {
    fleet = await ServiceFleet.create();
    services = await Promise.all([fleet.start(), fleet.start()]);
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  /** One service takes the even requests, the other the odd ones. */
  const serviceOf = (index: number): ServiceProcess => services[index % 2]!;

  const many = <T>(send: (index: number) => Promise<T>): Promise<T[]> =>
    Promise.all(Array.from({ length: REQUESTS }, (_, index) => send(index)));

  it('50 identical requests make one payment, one gateway call and one event, and all get the same answer', async () => {
    const key = newKey();
    const callsBefore = await gatewayCalls(services);

    const replies = await many((index) => charge(serviceOf(index), key));

    const made = replies.filter((reply) => reply.status === 201);
    for (const reply of replies) expect([201, 409]).toContain(reply.status);
    for (const reply of replies.filter(({ status }) => status === 409)) {
      expect(reply.json).toMatchObject({ code: 'idempotency_key_in_progress', retry: 'same_key' });
      expect(reply.headers.get('retry-after')).toMatch(/^\d+$/);
    }
    expect(made.filter((reply) => !isReplay(reply))).toHaveLength(1);
    const again = await many((index) => chargeUntilFinal(serviceOf(index), key));
    expect(again.every(isReplay)).toBe(true);
    expect(new Set([...made, ...again].map(wire)).size).toBe(1);
    expect(await gatewayCalls(services)).toBe(callsBefore + 1);
    await expectChargedOnce(fleet.evidence, key);
  });

  it('50 identical requests that wait for the first answer all get it, byte for byte', async () => {
    const key = newKey();
    const replies = await many((index) => chargeUntilFinal(serviceOf(index), key));
    expect(new Set(replies.map(wire)).size).toBe(1);
    expect(replies.filter((reply) => !isReplay(reply))).toHaveLength(1);
    await expectChargedOnce(fleet.evidence, key);
  });

  it('of two bodies under one key one wins, and the loser has no effect anywhere', async () => {
    const key = newKey();
    const amounts = [AMOUNT, AMOUNT + 1];
    const callsBefore = await gatewayCalls(services);

    // Each process gets both bodies, so they meet within one process as well as across the two.
    const replies = await many(async (index) => {
      const amount = amounts[(index >> 1) % 2]!;
      return {
        amount,
        reply: await chargeUntilFinal(serviceOf(index), key, { body: chargeBody({ amount }) }),
      };
    });

    const winners = replies.filter(({ reply }) => reply.status === 201);
    const losers = replies.filter(({ reply }) => reply.status !== 201);
    expect(new Set(winners.map(({ reply }) => wire(reply))).size).toBe(1);
    expect(new Set(winners.map(({ amount }) => amount)).size).toBe(1);
    expect(winners).toHaveLength(replies.filter(({ amount }) => amount === winners[0]?.amount).length);
    for (const { reply } of losers) {
      expect(reply.status).toBe(422);
      expect(reply.json).toMatchObject({
        code: 'idempotency_key_reused',
        effect: 'none',
        retry: 'new_key',
      });
    }
    const [payment] = await fleet.evidence.payments(key);
    expect(payment?.amount).toBe(String(winners[0]?.amount));
    expect((await fleet.evidence.effects(key)).map((effect) => effect.amountMinor)).toEqual([
      BigInt(payment!.amount),
    ]);
    expect(await gatewayCalls(services)).toBe(callsBefore + 1);
  });

  it('50 different keys at the same moment do not disturb each other', async () => {
    const keys = Array.from({ length: REQUESTS }, () => newKey());
    const replies = await many((index) => charge(serviceOf(index), keys[index]!));
    expect(replies.map((reply) => reply.status)).toEqual(keys.map(() => 201));
    expect(new Set(replies.map((reply) => reply.json['transaction_id'])).size).toBe(REQUESTS);
    for (const key of keys) await expectChargedOnce(fleet.evidence, key);
  });

  it('the other process sees a key while its charge is still at the gateway', async () => {
    const key = newKey();
    const first = chargeUntilFinal(services[0], key, { body: SLOW });
    const second = chargeUntilFinal(services[1], key, { body: SLOW });
    const [one, two] = await Promise.all([first, second]);
    expect(wire(one)).toBe(wire(two));
    expect(isReplay(one)).not.toBe(isReplay(two));
    await expectChargedOnce(fleet.evidence, key);
  });
});

/** The parts of an answer that a replay repeats. */
function wire(reply: Reply): string {
  const header = (name: string): string => `${name}: ${reply.headers.get(name)}`;
  return [reply.status, header('content-type'), header('location'), reply.body].join('\n');
}

/** How often the processes called their gateway, whatever it answered. */
async function gatewayCalls(services: readonly ServiceProcess[]): Promise<number> {
  const pages = await Promise.all(
    services.map(async ({ baseUrl }) => (await fetch(`${baseUrl}/metrics`)).text()),
  );
  return pages
    .flatMap((page) => [...page.matchAll(/^hapax_charges_total\{.*\} (\d+)$/gm)])
    .reduce((sum, match) => sum + Number(match[1]), 0);
}
