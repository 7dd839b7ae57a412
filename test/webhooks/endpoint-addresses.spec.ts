import type { LookupAddress } from 'node:dns';
import { DataSource } from 'typeorm';
import { KeyManagement } from '../../src/auth/key-management.js';
import { HostResolver, isPublicAddress } from '../../src/webhooks/endpoints/endpoint-addresses.js';
import { WebhookSender } from '../../src/webhooks/delivery/webhook-sender.js';
import { newKey } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { TestApp } from '../support/test-app.js';
import { createEndpoint, emit, newEvents, Receiver } from '../support/webhooks.js';

const NOT_PUBLIC = [
  ['unspecified', '0.0.0.0'],
  ['this network', '0.1.2.3'],
  ['loopback', '127.0.0.1'],
  ['loopback, another', '127.255.255.254'],
  ['private 10/8', '10.1.2.3'],
  ['private 172.16/12', '172.31.255.255'],
  ['private 192.168/16', '192.168.0.1'],
  ['link-local: where clouds keep credentials', '169.254.169.254'],
  ['carrier-grade NAT', '100.64.0.1'],
  ['IETF assignments', '192.0.0.8'],
  ['documentation', '192.0.2.1'],
  ['6to4 relays', '192.88.99.1'],
  ['benchmarking', '198.19.0.1'],
  ['multicast', '224.0.0.1'],
  ['reserved', '240.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['IPv6 unspecified', '::'],
  ['IPv6 loopback', '::1'],
  ['IPv6 unique local', 'fd12:3456::1'],
  ['IPv6 link-local', 'fe80::1'],
  ['IPv6 site-local', 'fec0::1'],
  ['IPv6 multicast', 'ff02::1'],
  ['IPv6 documentation', '2001:db8::1'],
  ['IPv4-mapped', '::ffff:127.0.0.1'],
  ['IPv4-mapped, in hexadecimal', '::ffff:a00:1'],
  ['IPv4-compatible', '::127.0.0.1'],
  ['IPv4-translated', '::ffff:0:127.0.0.1'],
  ['NAT64', '64:ff9b::7f00:1'],
  ['local NAT64', '64:ff9b:1::7f00:1'],
  ['6to4', '2002:7f00:1::'],
  ['Teredo', '2001::1'],
  ['discard-only', '100::1'],
  ['not assigned', '4000::1'],
] as const;

const PUBLIC = [
  '8.8.8.8',
  '172.32.0.1',
  '100.128.0.1',
  '169.253.0.1',
  '2606:4700::1111',
  '2a00:1450:4001::1',
];

function urlOf(address: string): string {
  return `https://${address.includes(':') ? `[${address}]` : address}/hook`;
}

describe('addresses of webhook endpoints', () => {
  it.each(NOT_PUBLIC)('%s is not public: %s', (_what, address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(PUBLIC)('%s is public', (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  describe('outside the sandbox', () => {
    let app: TestApp;
    let apiKey: string;

    beforeAll(async () => {
      app = await TestApp.start({ SANDBOX: 'false' });
      ({ apiKey } = await new KeyManagement(app.app.get(DataSource), false).createMerchant('Shop'));
    });
    afterAll(() => app.stop());

    const create = (url: unknown) =>
      app.app.inject({
        method: 'POST',
        url: '/v1/webhook-endpoints',
        headers: { authorization: `Bearer ${apiKey}`, 'idempotency-key': newKey() },
        payload: { url },
      });

    it('registration refuses every such URL, however it is written', async () => {
      const urls = [
        ...NOT_PUBLIC.map(([, address]) => urlOf(address)),
        'https://2130706433/',
        'https://0x7f.1/',
        'https://0177.0.0.1/',
        'https://localhost/',
        'https://localhost./',
        'https://localhost../',
        'https://hooks..example.com/',
        'https://hooks.localhost/',
        'https://printer.local/',
        'https://metadata.google.internal/',
        'https://intranet/',
        'http://hooks.example.com/',
        'ftp://hooks.example.com/',
        'https://user:secret@hooks.example.com/',
        'https://user@hooks.example.com/',
        'https://hooks.example.com/#fragment',
        'hooks.example.com',
        'https://',
        `https://hooks.example.com/${'x'.repeat(2_048)}`,
      ];
      for (const url of urls) {
        const { statusCode, body } = await create(url);
        expect([url, statusCode, JSON.parse(body).errors?.[0]?.field]).toEqual([url, 400, 'url']);
      }
    });

    it('registration accepts public URLs', async () => {
      for (const url of [
        'https://hooks.example.com:8443/a?b=c',
        urlOf('8.8.8.8'),
        urlOf('2606:4700::1111'),
      ]) {
        expect([url, (await create(url)).statusCode]).toEqual([url, 201]);
      }
    });

    it('every try checks the addresses of the name, and connects to no others', async () => {
      const receiver = await Receiver.start();
      const asked: string[] = [];
      let addresses: LookupAddress[] = [];
      app.app.get(HostResolver).resolve = (host) => {
        asked.push(host);
        return Promise.resolve(addresses);
      };
      const { port } = new URL(receiver.url());
      const send = () =>
        app.app
          .get(WebhookSender)
          .send(
            { url: `https://rebound.example.com:${port}/`, headers: {}, body: '{}' },
            new AbortController().signal,
          );
      for (const [, address] of NOT_PUBLIC) {
        // One bad address is enough, even after a public one.
        addresses = [
          { address: '203.0.114.1', family: 4 },
          { address, family: address.includes(':') ? 6 : 4 },
        ];
        expect(await send()).toMatchObject({ responseStatus: null, error: 'address_not_allowed' });
      }
      expect(asked).toHaveLength(NOT_PUBLIC.length);
      expect(receiver.received).toEqual([]);
      await receiver.stop();
    });

    it('every try checks an address written in the URL, because a sandbox may have accepted it', async () => {
      const receiver = await Receiver.start();
      const { port } = new URL(receiver.url());
      const sender = app.app.get(WebhookSender);
      const hosts = [
        '127.0.0.1',
        '2130706433',
        '0x7f.1',
        '017700000001',
        '0',
        '[::1]',
        '[::]',
        '[::ffff:7f00:1]',
      ];
      const urls = hosts.flatMap((host) => [`http://${host}:${port}/`, `https://${host}:${port}/`]);
      for (const url of [...urls, 'http://hooks.example.com/', 'https://localhost../']) {
        const result = await sender.send({ url, headers: {}, body: '{}' }, new AbortController().signal);
        expect([url, result.responseStatus, result.error]).toEqual([url, null, 'address_not_allowed']);
      }
      expect(receiver.received).toEqual([]);
      await receiver.stop();
    });

    it('a name that now leads to a private address gets a failed try in the log, and no request', async () => {
      const receiver = await Receiver.start();
      app.app.get(HostResolver).resolve = () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]);
      const url = `https://rebound.example.com:${new URL(receiver.url()).port}/`;
      const { webhook_endpoint_id: id } = await createEndpoint(app, { url }, apiKey);
      const [{ merchant_id: merchantId }] = (await app.evidence.query<{ merchant_id: string }>(
        'SELECT merchant_id FROM webhook_endpoints WHERE webhook_endpoint_id = $1',
        [id],
      )) as [{ merchant_id: string }];
      await emit(app, newEvents(1, { merchantId }));
      const logged = await eventually('a try', async () => {
        const { data } = (await app.get(`/v1/webhook-endpoints/${id}/deliveries`, apiKey)).body;
        return data[0]?.tries[0];
      });
      expect(logged).toMatchObject({ response_status: null, error: 'address_not_allowed' });
      expect(receiver.received).toEqual([]);
      await receiver.stop();
    });
  });

  it('in the sandbox may be any, so the test above would have reached its receiver without the check', async () => {
    const app = await TestApp.start();
    const receiver = await Receiver.start();
    app.app.get(HostResolver).resolve = () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]);
    const url = `http://rebound.example.com:${new URL(receiver.url()).port}/`;
    await createEndpoint(app, { url });
    await emit(app, newEvents(1));
    await eventually('the delivery', () => receiver.received.length > 0);
    expect(receiver.received).toHaveLength(1);
    await app.stop();
    await receiver.stop();
  });
});
