import { createServer, type AddressInfo, type Server } from 'node:net';
import { loadConfig } from '../../src/config/load-config.js';
import { Clock } from '../../src/time/clock.js';
import { EndpointAddresses, HostResolver } from '../../src/webhooks/endpoints/endpoint-addresses.js';
import { WebhookSender } from '../../src/webhooks/delivery/webhook-sender.js';

const TIME_LIMIT_MS = 500;
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n';

describe('a try ends and reports its result when the server sends', () => {
  const config = loadConfig({ SANDBOX: 'true', WEBHOOK_TIMEOUT: `${TIME_LIMIT_MS}ms` });
  const sender = new WebhookSender(
    config,
    new EndpointAddresses(config, new HostResolver(config)),
    new Clock(),
  );
  const servers: Server[] = [];

  afterAll(() => {
    sender.onApplicationShutdown();
    for (const server of servers) server.close();
  });

  /** A server that sends these bytes on the first request, and then closes the connection or goes silent. */
  async function listen(answer: string, hangsUp: boolean): Promise<string> {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write(answer);
        if (hangsUp) socket.end();
      });
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }

  const send = async (answer: string, hangsUp: boolean) =>
    sender.send(
      { url: await listen(answer, hangsUp), headers: {}, body: '{}' },
      new AbortController().signal,
    );

  it.each([
    [
      'a switch of protocol that we did not ask for',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
      [101, null],
    ],
    ['a 101 that does not name the protocol', 'HTTP/1.1 101 Switching Protocols\r\n\r\n', [101, null]],
    ['an invalid status', 'HTTP/1.1 99999 Huge\r\n\r\n', [null, 'HPE_INVALID_STATUS']],
    ['the largest status', 'HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n', [999, null]],
    ['something other than HTTP', 'hello\r\n\r\n', [null, 'HPE_INVALID_CONSTANT']],
    ['endless headers', `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(100_000)}`, [null, 'HPE_HEADER_OVERFLOW']],
    ['a body in broken chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n', [200, null]],
    ['two answers: the first one counts', `${OK}HTTP/1.1 410 Gone\r\n\r\n`, [200, null]],
  ])('%s', async (_what, answer, outcome) => {
    for (const hangsUp of [false, true]) {
      const { responseStatus, error } = await send(answer, hangsUp);
      expect([responseStatus, error]).toEqual(outcome);
    }
  });

  it('nothing but a promise to answer', async () => {
    const answer = 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(3);
    expect(await send(answer, true)).toMatchObject({ responseStatus: null, error: 'ECONNRESET' });
    expect(await send(answer, false)).toMatchObject({ responseStatus: null, error: 'timeout' });
  });
});
