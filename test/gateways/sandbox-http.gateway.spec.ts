import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { SandboxHttpGateway } from '../../src/gateways/sandbox/sandbox-http.gateway.js';
import { chargeRequest, sent, patience } from './sandbox-fixture.js';

const PATIENCE_MS = 150;
const LOST = { since: new Date(0), until: new Date() };
const UNKNOWN = { kind: 'unknown' };
const UNAVAILABLE = { kind: 'unavailable' };

/** What it says depends on whether anything can have been sent. */
describe('the HTTP client of the sandbox gateway', () => {
  let server: Server;
  let gateway: SandboxHttpGateway;
  let respond: (socket: Socket) => void;

  beforeAll(async () => {
    server = createServer((request) => {
      request.resume().once('end', () => respond(request.socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    gateway = new SandboxHttpGateway(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const answers = (status: string, body: string): void => {
    respond = (socket) =>
      socket.write(
        `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
  };

  it('says unavailable if the connection is refused, because nothing was sent', async () => {
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as AddressInfo;
    free.close();
    await once(free, 'close');
    const nobody = new SandboxHttpGateway(`http://127.0.0.1:${port}`);
    expect(await nobody.charge(chargeRequest(), patience(1_000))).toEqual(UNAVAILABLE);
    expect(await nobody.inquire(sent(chargeRequest()), new Date(), patience(1_000))).toEqual(UNKNOWN);
  });

  it('says unknown if the connection is reset after the request was sent', async () => {
    respond = (socket) => socket.resetAndDestroy();
    expect(await gateway.charge(chargeRequest(), patience(1_000))).toEqual(UNKNOWN);
  });

  it('says unknown if the connection closes in the middle of the answer', async () => {
    respond = (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"reference":');
    expect(await gateway.charge(chargeRequest(), patience(1_000))).toEqual(UNKNOWN);
  });

  it('says unknown if no answer comes in time', async () => {
    respond = () => undefined;
    expect(await gateway.charge(chargeRequest(), patience(PATIENCE_MS))).toEqual(UNKNOWN);
    expect(await gateway.inquire(sent(chargeRequest()), new Date(), patience(PATIENCE_MS))).toEqual(UNKNOWN);
  });

  it.each([
    ['500 Internal Server Error', '{}'],
    ['502 Bad Gateway', '<html>'],
    ['503 Service Unavailable', '<html>'],
    ['503 Service Unavailable', '{"error":{"code":"overloaded"}}'],
    ['200 OK', '{}'],
    ['200 OK', 'null'],
    ['404 Not Found', '<html>'],
  ])('says unknown to %s %s, because that promises nothing', async (status, body) => {
    answers(status, body);
    expect(await gateway.charge(chargeRequest(), patience(1_000))).toEqual(UNKNOWN);
    expect(await gateway.inquire(sent(chargeRequest()), new Date(), patience(1_000))).toEqual(UNKNOWN);
    expect(await gateway.lookUp(sent(chargeRequest()), LOST, patience(1_000))).toEqual(UNKNOWN);
  });

  it('says unavailable if the gateway itself promises that there was no effect', async () => {
    answers('503 Service Unavailable', '{"error":{"code":"unavailable","effect":"none"}}');
    expect(await gateway.charge(chargeRequest(), patience(1_000))).toEqual(UNAVAILABLE);
  });

  it('accepts a decline for a reason that we do not know', async () => {
    answers('402 Payment Required', '{"status":"declined","failure":{"code":"lost_card","message":"Lost."}}');
    expect(await gateway.charge(chargeRequest(), patience(1_000))).toEqual({
      kind: 'declined',
      failure: { code: 'card_declined', message: 'Lost.' },
    });
  });

  it('throws if the gateway does not understand us', async () => {
    answers('400 Bad Request', '{"error":{"code":"invalid_request","message":"no amount"}}');
    await expect(gateway.charge(chargeRequest(), patience(1_000))).rejects.toThrow('no amount');
  });
});
