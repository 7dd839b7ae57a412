import { setTimeout as sleep } from 'node:timers/promises';
import type { EventSink } from '../../src/events/event-sink.js';
import { SUBSCRIBED } from '../../src/webhooks/delivery/webhook-subscriptions.store.js';
import { AUTOMATIC, newPayment, post } from '../support/api.js';
import { API_KEY, newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { RecordingSink } from '../support/recording-sink.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';
import { Receiver } from '../support/webhooks.js';
import { LONG_LEASE_MS, MERCHANT, without, WritePath } from '../support/write-path.js';

const OTHER_MERCHANT = '00000000-0000-7000-8000-00000000000b';

describe('the outbox rows of webhooks', () => {
  let db: WritePath;

  beforeAll(async () => {
    const webhooks: EventSink = { name: 'webhooks', wants: SUBSCRIBED, handOn: () => Promise.resolve() };
    db = await WritePath.open([webhooks, new RecordingSink('nats')]);
  });
  afterEach(() => db.query('DELETE FROM webhook_endpoints'));
  afterAll(() => db.close());

  /** Settles a charge and returns the sinks for which its event waits. */
  async function sinksAfterSettling(): Promise<string[]> {
    const claim = await db.reserve(LONG_LEASE_MS);
    expect(await db.settle(claim)).toBe(true);
    expect(await db.eventsOf(claim)).toEqual(['1 payment.completed']);
    return sinksOf(claim.resourceId);
  }

  async function sinksOf(transactionId: string): Promise<string[]> {
    const rows = await db.query<{ sink: string }>(
      'SELECT sink FROM event_outbox WHERE transaction_id = $1 ORDER BY sink',
      [transactionId],
    );
    return rows.map(({ sink }) => sink);
  }

  async function insertEndpoint(
    { merchantId = MERCHANT, eventTypes = null as string[] | null } = {},
    query = db.query.bind(db),
  ): Promise<void> {
    await query(
      `INSERT INTO webhook_endpoints
         (merchant_id, webhook_endpoint_id, idempotency_key, claim_id, fingerprint, url, event_types, secret,
           created_at, updated_at)
       VALUES ($1, gen_random_uuid(), $2, gen_random_uuid(), '', 'http://127.0.0.1/', $3, '', now(), now())`,
      [merchantId, newKey(), eventTypes],
    );
  }

  it('are not written without an endpoint, and other sinks get everything', async () => {
    expect(await sinksAfterSettling()).toEqual(['nats']);
  });

  it('are written for an endpoint of this merchant, and not for another’s', async () => {
    await insertEndpoint({ merchantId: OTHER_MERCHANT });
    expect(await sinksAfterSettling()).toEqual(['nats']);
    await insertEndpoint();
    expect(await sinksAfterSettling()).toEqual(['nats', 'webhooks']);
  });

  it('are written only for the types that an endpoint subscribes to', async () => {
    await insertEndpoint({ eventTypes: ['payment.failed'] });
    expect(await sinksAfterSettling()).toEqual(['nats']);
    await insertEndpoint({ eventTypes: ['payment.failed', 'payment.completed'] });
    expect(await sinksAfterSettling()).toEqual(['nats', 'webhooks']);
  });

  it('are not written while the endpoint is disabled, and again as soon as it is enabled', async () => {
    await insertEndpoint();
    await db.query(`UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'requested'`);
    expect(await sinksAfterSettling()).toEqual(['nats']);
    await db.query('UPDATE webhook_endpoints SET enabled = true, disabled_reason = NULL');
    expect(await sinksAfterSettling()).toEqual(['nats', 'webhooks']);
  });

  it('are written if the endpoint was committed after the settlement began and before its event', async () => {
    const claim = await db.reserve(LONG_LEASE_MS);
    const blocking = db.dataSource.createQueryRunner();
    await blocking.startTransaction();
    await blocking.query('SELECT FROM payments WHERE transaction_id = $1 FOR UPDATE', [claim.resourceId]);
    const settling = db.settle(claim);
    await eventually('the settlement waits for the payment', async () => {
      const [row] = await db.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return row!.n > 0;
    });
    await insertEndpoint();
    await blocking.commitTransaction();
    await blocking.release();
    expect(await settling).toBe(true);
    expect(await sinksOf(claim.resourceId)).toEqual(['nats', 'webhooks']);
  });

  it('an endpoint that is being created holds up no charge', async () => {
    const creating = db.dataSource.createQueryRunner();
    await creating.startTransaction();
    await insertEndpoint({}, (sql, values) => creating.query(sql, values) as never);
    expect(await sinksAfterSettling()).toEqual(['nats']);
    await creating.commitTransaction();
    await creating.release();
    expect(await sinksAfterSettling()).toEqual(['nats', 'webhooks']);
  });

  it('control: without the condition, every event has one', async () => {
    const claim = await db.reserve(LONG_LEASE_MS);
    await db.settle(claim, without('events.append', /WHERE CASE s\.sink[^]*END$/));
    expect(await sinksOf(claim.resourceId)).toEqual(['nats', 'webhooks']);
  });
});

/** Two processes on one database, so that what one of them remembers about the other's endpoints shows. */
describe('an endpoint in a busy service', () => {
  let fleet: ServiceFleet;
  let services: ServiceProcess[];
  let receiver: Receiver;
  let charging = true;
  const isCharging = () => charging;
  /** What was charged while the endpoint was surely enabled: from its answer until the next change was asked for. */
  const promised: string[] = [];
  /** Counts up with every change; even while it is disabled or may be. */
  let period = 0;
  const isEnabled = () => period % 2 === 1;

  beforeAll(async () => {
    fleet = await ServiceFleet.create();
    services = await Promise.all([fleet.start(), fleet.start()]);
    receiver = await Receiver.start();
  });
  afterAll(async () => {
    charging = false;
    await fleet.end();
    await receiver.stop();
  });

  async function charge(service: ServiceProcess): Promise<void> {
    while (isCharging()) {
      const before = period;
      const id = await newPayment(service, AUTOMATIC);
      if (isEnabled() && period === before) promised.push(id);
    }
  }

  async function enable(service: ServiceProcess, endpointId: string, value: boolean): Promise<void> {
    const answer = await fetch(`${service.baseUrl}/v1/webhook-endpoints/${endpointId}`, {
      method: 'PATCH',
      headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ enabled: value }),
    });
    expect(answer.status).toBe(200);
    if (value) period += 1;
  }

  /** Disabling cancels what has not been delivered, so we wait for all that was promised. */
  async function chargeAndReceive(): Promise<void> {
    const enough = promised.length + 10;
    await eventually('charges', () => promised.length >= enough);
    period += 1;
    const isMissing = (id: string) => !receiver.received.some(({ body }) => body.includes(id));
    await eventually('every promised event', () => !promised.some(isMissing));
  }

  it('gets every event that happens after it was created or enabled, through either process', async () => {
    const [first, second] = services as [ServiceProcess, ServiceProcess];
    const loads = services.flatMap((service) => [1, 2, 3, 4].map(() => charge(service)));
    await sleep(200);
    const created = await post(first, '/v1/webhook-endpoints', { body: { url: receiver.url() } });
    expect(created.status).toBe(201);
    period += 1;
    const endpointId = String(created.json['webhook_endpoint_id']);
    await chargeAndReceive();
    for (const service of [second, first]) {
      await enable(service, endpointId, false);
      await sleep(200);
      await enable(service, endpointId, true);
      await chargeAndReceive();
    }
    charging = false;
    await Promise.all(loads);
  });
});
