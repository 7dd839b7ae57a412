import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { SandboxBooks } from '../../src/gateways/sandbox/sandbox-books.js';
import { SandboxEngine } from '../../src/gateways/sandbox/sandbox-engine.js';
import { SandboxNotifier, type SandboxNotification } from '../../src/gateways/sandbox/sandbox-notifier.js';
import { createTemporaryFolder, type TemporaryFolder } from '../support/postgres.js';
import { chargeRequest, refundRequest, script } from './sandbox-fixture.js';

const secret = `whsec_${randomBytes(32).toString('base64')}`;

describe("the sandbox gateway's notifications", () => {
  const received: { headers: Record<string, string>; body: string }[] = [];
  let answers: number[] = [];
  let receiver: Server;
  let url: string;
  let folder: TemporaryFolder;
  let engine: SandboxEngine;

  beforeAll(async () => {
    receiver = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        received.push({
          headers: request.headers as Record<string, string>,
          body: Buffer.concat(chunks).toString(),
        });
        response.writeHead(answers.shift() ?? 204).end();
      });
    }).listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/notifications`;
  });
  beforeEach(async () => {
    received.splice(0);
    answers = [];
    folder = await createTemporaryFolder();
    engine = open();
    engine.start();
  });
  afterEach(async () => {
    await engine.close();
    await folder.remove();
  });
  afterAll(() => {
    receiver.closeAllConnections();
    receiver.close();
  });

  function open(): SandboxEngine {
    const books = new SandboxBooks(join(folder.path, 'books.sqlite'));
    return new SandboxEngine(books, new SandboxNotifier(books, { url, secret }));
  }

  const events = (): SandboxNotification[] =>
    received.map(({ body }) => JSON.parse(body) as SandboxNotification);

  async function receive(count: number): Promise<SandboxNotification[]> {
    const giveUpAt = Date.now() + 5_000;
    while (received.length < count && Date.now() < giveUpAt)
      await new Promise((resolve) => setTimeout(resolve, 10));
    // An extra one would come soon.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(received).toHaveLength(count);
    return events();
  }

  async function charge(method?: string): Promise<{ key: string; reference: string }> {
    const request = chargeRequest(method);
    const { verdict } = await engine.charge(request);
    return { key: request.gatewayKey, reference: 'reference' in verdict ? verdict.reference : '' };
  }

  it('report every answered call, signed so that the official library accepts them', async () => {
    const request = chargeRequest();
    const { verdict } = await engine.charge(request);
    const reference = 'reference' in verdict ? verdict.reference : '';
    const refund = refundRequest(request, reference);
    await engine.refund(refund);
    await charge('pm_card_declined');
    await charge('pm_gateway_unavailable');
    const [charged, refunded, failed] = (await receive(3)).toSorted((a, b) =>
      a.timestamp + a.id < b.timestamp + b.id ? -1 : 1,
    );
    for (const { headers, body } of received) {
      const event = new Webhook(secret).verify(body, headers) as SandboxNotification;
      expect(headers['webhook-id']).toBe(event.id);
      expect(() => new Webhook(`whsec_${randomBytes(32).toString('base64')}`).verify(body, headers)).toThrow(
        'No matching signature',
      );
      expect(() => new Webhook(secret).verify(`${body} `, headers)).toThrow('No matching signature');
    }
    expect(charged).toMatchObject({
      type: 'charge.completed',
      data: {
        reference,
        charge_reference: reference,
        idempotency_key: request.gatewayKey,
        charge_idempotency_key: request.gatewayKey,
        amount: 1_999,
        currency: 'EUR',
        status: 'approved',
        failure: null,
      },
    });
    expect(refunded).toMatchObject({
      type: 'refund.completed',
      data: {
        charge_reference: reference,
        idempotency_key: refund.gatewayKey,
        charge_idempotency_key: request.gatewayKey,
      },
    });
    expect(failed).toMatchObject({ type: 'charge.failed', data: { failure: { code: 'card_declined' } } });
  });

  it('come once for a key that is sent twice', async () => {
    const request = chargeRequest();
    await engine.charge(request);
    await engine.charge(request);
    expect(await receive(1)).toMatchObject([{ data: { idempotency_key: request.gatewayKey } }]);
  });

  it('come for a charge whose answer was lost', async () => {
    await charge('pm_gateway_timeout_after_charge');
    expect(await receive(1)).toMatchObject([{ type: 'charge.completed' }]);
  });

  it('come again under the same id until they are accepted', async () => {
    answers = [500, 503];
    await charge();
    const [first, ...again] = await receive(3);
    expect(again).toEqual([first, first]);
  });

  it('come twice, late and out of order when a script says so', async () => {
    engine.play(script({ notifications: { duplicate: 1 } }));
    await charge();
    const [first, second] = await receive(2);
    expect(second).toEqual(first);

    received.splice(0);
    engine.play(script({ notifications: { late: 1, late_ms: 300 } }));
    const chargedAt = Date.now();
    await charge();
    await receive(1);
    expect(Date.now() - chargedAt).toBeGreaterThanOrEqual(300);

    received.splice(0);
    engine.play(script({ notifications: { reorder: 1 } }));
    const held = await charge();
    engine.play(null);
    const next = await charge();
    expect((await receive(2)).map(({ data }) => data.reference)).toEqual([next.reference, held.reference]);
  });

  it('come from the next process if one ends before it has sent them', async () => {
    engine.play(script({ notifications: { late: 1, late_ms: 200 } }));
    const { key } = await charge();
    await engine.close();
    engine = open();
    engine.start();
    expect(await receive(1)).toMatchObject([{ data: { idempotency_key: key } }]);
  });

  it('cost a charge only an empty column when there are none', async () => {
    await engine.close();
    const books = new SandboxBooks(join(folder.path, 'books.sqlite'));
    engine = new SandboxEngine(books);
    await charge();
    expect(books.nextDueAtMs()).toBeNull();
  });
});
