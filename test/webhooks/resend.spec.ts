import { eventually } from '../support/eventually.js';
import { emit, hurry, newEvents, OK, status } from '../support/webhooks.js';
import { WebhooksFixture } from './webhooks-fixture.js';

describe('an event can be sent again', () => {
  let webhooks: WebhooksFixture;

  beforeAll(async () => {
    webhooks = await WebhooksFixture.start();
  });
  beforeEach(() => (webhooks.receiver.answer = OK));
  afterAll(() => webhooks.stop());

  it('after its endpoint was disabled, because every try had failed for five days', async () => {
    webhooks.receiver.answer = status(500);
    const { endpointId } = await webhooks.send('/dead');
    await webhooks.app.evidence.query(
      `UPDATE webhook_endpoints SET failing_since = now() - interval '5 days 1 second' WHERE webhook_endpoint_id = $1`,
      [endpointId],
    );
    await hurry(webhooks.app, endpointId);
    await eventually('it is disabled', async () => {
      const { disabled_reason } = (await webhooks.call('GET', `/v1/webhook-endpoints/${endpointId}`)).json();
      return disabled_reason === 'failing';
    });
    const missed = newEvents(3);
    const since = missed[0]!.createdAt.toISOString();
    await emit(webhooks.app, missed);
    webhooks.receiver.answer = OK;
    const enabled = await webhooks.call('PATCH', `/v1/webhook-endpoints/${endpointId}`, { enabled: true });
    expect(enabled.json()).toMatchObject({ enabled: true, disabled_reason: null, failing_since: null });
    const resent = await webhooks.call('POST', `/v1/webhook-endpoints/${endpointId}/resend`, {
      created_gte: since,
    });
    expect([resent.statusCode, resent.json()]).toEqual([202, { scheduled: 3, next_cursor: null }]);
    await eventually('all that it missed', () =>
      missed.every(({ eventId }) => webhooks.receiver.at('/dead').some(({ id }) => id === eventId)),
    );
  });

  it('by hand, after it failed at the end of the schedule, and even after it was delivered', async () => {
    webhooks.receiver.answer = status(503);
    const { endpointId, delivery } = await webhooks.send('/hopeless');
    await webhooks.app.evidence.query(
      'UPDATE webhook_deliveries SET pause = 9 WHERE webhook_delivery_id = $1',
      [delivery.webhook_delivery_id],
    );
    await hurry(webhooks.app, endpointId);
    await eventually(
      'the end',
      async () => (await webhooks.deliveriesOf(endpointId))[0]?.status === 'failed',
    );
    webhooks.receiver.answer = OK;
    const retry = await webhooks.call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    expect([retry.statusCode, retry.json().status]).toEqual([202, 'pending']);
    const done = await eventually('the last try', async () => {
      const [found] = await webhooks.deliveriesOf(endpointId);
      return found?.status === 'delivered' && found;
    });
    expect(done.tries.map(({ response_status }) => response_status)).toEqual([204, 503, 503]);
    // A delivered one can be sent again, too.
    await webhooks.call('POST', `/v1/webhook-deliveries/${delivery.webhook_delivery_id}/retry`);
    await eventually('one more', () => webhooks.receiver.at('/hopeless').length === 4);
  });

  it('with all others of a time range, or only if it is undelivered', async () => {
    const { webhook_endpoint_id: id } = await webhooks.endpointAt('/range', {
      event_types: ['payment.completed'],
    });
    const events = newEvents(4).map((event, index) => ({
      ...event,
      createdAt: new Date(Date.UTC(2026, 0, 1 + index)),
    }));
    // Real event ids begin with their time, so these do too.
    const dated = events.map((event) => ({ ...event, eventId: idAt(event.createdAt, event.eventId) }));
    await emit(webhooks.app, dated);
    await eventually('the first time', () => webhooks.receiver.at('/range').length === 4);
    const range = { created_gte: '2026-01-02T00:00:00Z', created_lt: '2026-01-04T00:00:00Z' };
    await eventually('their end', async () =>
      (await webhooks.deliveriesOf(id)).every(({ status: end }) => end === 'delivered'),
    );
    const undelivered = await webhooks.call('POST', `/v1/webhook-endpoints/${id}/resend`, {
      ...range,
      only_undelivered: true,
    });
    expect(undelivered.json()).toEqual({ scheduled: 0, next_cursor: null });
    const all = await webhooks.call('POST', `/v1/webhook-endpoints/${id}/resend`, range);
    expect(all.json()).toEqual({ scheduled: 2, next_cursor: null });
    await eventually('the second time', () => webhooks.receiver.at('/range').length === 6);
    const again = webhooks.receiver
      .at('/range')
      .slice(4)
      .map((received) => received.id);
    expect(again.toSorted()).toEqual([dated[1]!.eventId, dated[2]!.eventId].toSorted());
  });
});

function idAt(time: Date, id: string): string {
  const hex = time.getTime().toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}${id.slice(13)}`;
}
