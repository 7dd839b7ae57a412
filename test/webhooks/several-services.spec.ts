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

  it('have at most twenty endpoints a merchant, also when both are asked for more at once', async () => {
    for (let round = 1; round <= 3; round += 1) {
      const replies = await Promise.all(
        Array.from({ length: 30 }, (_, index) =>
          post(any(index), ENDPOINTS, { body: { url: receiver.url('/many') } }),
        ),
      );
      const made = replies.filter(({ status }) => status === 201);
      expect([made.length, replies.length - made.length]).toEqual([20, 10]);
      const { json } = await get(any(round), `${ENDPOINTS}?limit=100`);
      expect(json['data']).toHaveLength(20);
      await Promise.all(
        made.map((reply, index) =>
          fetch(`${any(index).baseUrl}${ENDPOINTS}/${String(reply.json['webhook_endpoint_id'])}`, {
            method: 'DELETE',
            headers: { authorization: 'Bearer sk_sandbox_hapax' },
          }),
        ),
      );
    }
  });
});
