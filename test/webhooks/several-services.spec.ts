import { get, post } from '../support/api.js';
import { ServiceFleet } from '../support/service-fleet.js';
import type { ServiceProcess } from '../support/service-process.js';
import { Receiver } from '../support/webhooks.js';

const ENDPOINTS = '/v1/webhook-endpoints';

describe('webhooks of two services on one database', () => {
  let fleet: ServiceFleet;
  let services: ServiceProcess[];
  let receiver: Receiver;

  beforeAll(async () => {
    fleet = await ServiceFleet.create();
    services = await Promise.all([fleet.start(), fleet.start()]);
    receiver = await Receiver.start();
  });
  afterAll(async () => {
    await fleet.end();
    await receiver.stop();
  });

  const any = (index: number) => services[index % services.length]!;

  it('allow a merchant at most twenty endpoints, even when both services create more at once', async () => {
    // A slow insert makes the creations overlap.
    await fleet.evidence.query(`
      CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END';
      CREATE TRIGGER dawdle AFTER INSERT ON webhook_endpoints EXECUTE FUNCTION dawdle()`);
    const replies = await Promise.all(
      Array.from({ length: 30 }, (_, index) =>
        post(any(index), ENDPOINTS, { body: { url: receiver.url('/many') } }),
      ),
    );
    const made = replies.filter(({ status }) => status === 201);
    const refused = replies.filter(({ json }) => json['code'] === 'webhook_endpoint_limit');
    expect([made.length, refused.length]).toEqual([20, 10]);
    expect((await get(any(0), `${ENDPOINTS}?limit=100`)).json['data']).toHaveLength(20);
    await fleet.evidence.query('DROP FUNCTION dawdle CASCADE');
    await fleet.evidence.query('DELETE FROM webhook_endpoints');
  });
});
