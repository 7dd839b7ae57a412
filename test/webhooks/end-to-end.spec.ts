import { setTimeout as sleep } from 'node:timers/promises';
import { Webhook } from 'standardwebhooks';
import { AUTOMATIC, get, MANUAL, post } from '../support/api.js';
import { isReplay, newKey, type Reply } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { newSeed, seededRandom } from '../support/seeded-random.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';
import { OK, Receiver, status } from '../support/webhooks.js';

interface Event {
  event_id: string;
  type: string;
  transaction_id: string;
  sequence: number;
  created_at: string;
}

/** A request as it was first sent, kept so that the test can send it again. */
interface Sent {
  path: string;
  key: string;
  body: object;
}

const ROUNDS = 8;
const AT_ONCE = 8;
const MAX_TRIES = 100;
const RETRY_MS = 100;
/** Answers given before there is a claim, so there is nothing to replay: the payment was prevented by a reversal. */
const UNCLAIMED = ['not_found', 'idempotency_key_reversed'];

/** Two services as we ship them, with their relays and workers, and a receiver that fails now and then. */
describe('from a charge to the merchant’s own server', () => {
  const seed = newSeed('END_TO_END_SEED');
  const random = seededRandom(seed);
  let fleet: ServiceFleet;
  let services: ServiceProcess[];
  let receiver: Receiver;
  let events: Event[];
  const sent: Sent[] = [];

  beforeAll(async () => {
    process.stdout.write(`END_TO_END_SEED=${seed}\n`);
    fleet = await ServiceFleet.create({
      IDEMPOTENCY_LEASE: '5s',
      GATEWAY_TIMEOUT: '2s',
      WEBHOOK_RETRY_PAUSES: Array<string>(15).fill('100ms').join(','),
    });
    services = await Promise.all([fleet.start(), fleet.start()]);
    receiver = await Receiver.start((response, received) => {
      const luck = random();
      if (luck < 0.8) OK(response, received);
      else if (luck < 0.95) status(500)(response, received);
      else response.destroy();
    });
    const { json } = await post(any(), '/v1/webhook-endpoints', { body: { url: receiver.url() } });
    const webhook = new Webhook(String(json['secret']));

    await Promise.all(Array.from({ length: ROUNDS }, round));

    await eventually('every outcome', async () => (await waiting('payments', 'pending')) === 0);
    await eventually(
      'the relay',
      async () => (await fleet.evidence.query('SELECT FROM event_outbox')).length === 0,
    );
    await eventually('every delivery', async () => (await waiting('webhook_deliveries', 'pending')) === 0);

    events = await allEvents();
    for (const { body, headers } of receiver.received)
      webhook.verify(body, headers as Record<string, string>);
  });
  afterAll(async () => {
    await fleet.end();
    await receiver.stop();
  });

  const any = () => services[Math.floor(random() * services.length)]!;

  /** A client that repeats a request until it has a final answer, and sometimes sends three copies at once. */
  async function send(path: string, body: object): Promise<Reply> {
    const request = { path, key: newKey(), body };
    sent.push(request);
    const copies = random() < 0.5 ? 1 : 3;
    const [reply] = await Promise.all(Array.from({ length: copies }, () => untilFinal(request)));
    return reply!;
  }

  async function untilFinal({ path, key, body }: Sent): Promise<Reply> {
    for (let tries = 1; ; tries += 1) {
      const reply = await post(any(), path, { key, body, headers: { prefer: 'wait=10' } });
      if (reply.status !== 202 && reply.json['retry'] !== 'same_key') return reply;
      if (tries === MAX_TRIES) throw new Error(`no final answer to ${path}: ${reply.status} ${reply.body}`);
      await sleep(RETRY_MS);
    }
  }

  async function pay(body: object): Promise<string> {
    return String((await send('/v1/payments', body)).json['transaction_id']);
  }

  /** Everything that can happen to a payment, once, and some requests that change nothing. */
  async function round(): Promise<void> {
    await pay({ ...AUTOMATIC, payment_method: 'pm_card_declined' });
    await pay({ ...AUTOMATIC, payment_method: 'pm_gateway_error_after_charge' });
    await send(`/v1/payments/${await pay(MANUAL)}/cancel`, {});
    const captured = await pay(MANUAL);
    await send(`/v1/payments/${captured}/capture`, { amount: 700 });
    await send(`/v1/payments/${captured}/cancel`, {});
    const refunded = await pay(AUTOMATIC);
    await Promise.all([300, 400, 500].map((amount) => send(`/v1/payments/${refunded}/refunds`, { amount })));
    await send(`/v1/payments/${refunded}/capture`, {});
    await send('/v1/reversals', { idempotency_key: sent[Math.floor(random() * sent.length)]!.key });
  }

  async function waiting(table: string, state: string): Promise<number> {
    return (await fleet.evidence.query(`SELECT FROM ${table} WHERE status = $1`, [state])).length;
  }

  /** All events that `GET /v1/events` lists, page by page. */
  async function allEvents(): Promise<Event[]> {
    const found: Event[] = [];
    for (let cursor = ''; ;) {
      const { json } = await get(any(), `/v1/events?limit=100${cursor}`);
      found.push(...(json['data'] as Event[]));
      if (json['next_cursor'] === null) return found;
      cursor = `&cursor=${json['next_cursor'] as string}`;
    }
  }

  it('every event that the API lists arrives at least once, and no other', () => {
    expect(new Set(receiver.received.map(({ id }) => id))).toEqual(
      new Set(events.map(({ event_id }) => event_id)),
    );
    // The receiver did fail: some events came more than once.
    expect(receiver.received.length).toBeGreaterThan(events.length);
  });

  it('every message holds the event exactly as the API shows it', () => {
    const listed = new Map(events.map((event) => [event.event_id, event]));
    for (const { id, body } of receiver.received) {
      const event = listed.get(id)!;
      expect(body).toBe(JSON.stringify({ type: event.type, timestamp: event.created_at, data: event }));
    }
  });

  it('the events of each payment arrive without a gap', () => {
    const messages = receiver.received.map(({ body }) => JSON.parse(body) as { data: Event });
    const seen = Map.groupBy(messages, ({ data }) => data.transaction_id);
    for (const arrived of seen.values()) {
      const numbers = [...new Set(arrived.map(({ data }) => data.sequence))].toSorted((a, b) => a - b);
      expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    }
    const types = new Set(events.map(({ type }) => type));
    for (const type of ['pending', 'authorized', 'completed', 'failed', 'canceled']) {
      expect(types).toContain(`payment.${type}`);
    }
    expect(types).toContain('refund.completed');
  });

  it('repeating every request creates no event and sends nothing', async () => {
    const before = receiver.received.length;
    for (let begin = 0; begin < sent.length; begin += AT_ONCE) {
      const replies = await Promise.all(
        sent.slice(begin, begin + AT_ONCE).map(({ path, key, body }) => post(any(), path, { key, body })),
      );
      const acted = replies.filter(
        (reply) => !isReplay(reply) && !UNCLAIMED.includes(String(reply.json['code'])),
      );
      expect(acted.map(({ body }) => body)).toEqual([]);
    }
    expect(await allEvents()).toEqual(events);
    expect(await fleet.evidence.query('SELECT FROM event_outbox')).toEqual([]);
    expect(receiver.received).toHaveLength(before);
  });

  it('ledger, payments, keys and events agree', async () => {
    expect((await fleet.evidence.verify()).filter(({ broken }) => broken.length > 0)).toEqual([]);
  });
});
