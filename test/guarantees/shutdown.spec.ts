import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { closeApp } from '../../src/app.js';
import { API_KEY, chargeBody, newKey, SLOW } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceFleet } from '../support/service-fleet.js';
import { TestApp } from '../support/test-app.js';

const ROUNDS = 2;
const CONNECTIONS = 40;
/** Between the requests of two connections. The last one is sent 195 ms after the signal. */
const STEP_MS = 5;

describe('a service that is told to stop (SIGTERM)', () => {
  let fleet: ServiceFleet;

  beforeAll(async () => {
    fleet = await ServiceFleet.create({ LOG_LEVEL: 'info' });
  });
  afterEach(() => expectBooksToAgree(fleet.evidence));
  afterAll(() => fleet.end());

  it('answers each request that reaches a kept-alive connection just after, and closes each connection in the end', async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const service = await fleet.start();
      const connections = await Promise.all(
        Array.from({ length: CONNECTIONS }, () => KeptConnection.open(service.baseUrl)),
      );
      const keys = connections.map(() => newKey('stopping'));
      service.signal('SIGTERM');
      const answers = connections.map(async (connection, n) => {
        if (n > 0) await sleep(n * STEP_MS);
        return connection.send(chargeRequest(keys[n]!));
      });
      expect(await Promise.all(answers)).toEqual(
        connections.map(() => expect.stringContaining('201 Created')),
      );
      expect(await Promise.all(connections.map(({ end }) => end))).toEqual(connections.map(() => 'closed'));
      expect(await service.ended()).toBeNull();
      for (const key of keys) await expectChargedOnce(fleet.evidence, key);
    }
  });

  it('finishes what is in flight, answers the next request, and says that it stops and closes', async () => {
    const service = await fleet.start();
    const connection = await KeptConnection.open(service.baseUrl);
    const balancer = await KeptConnection.open(service.baseUrl);
    const [slow, next] = [newKey('slow'), newKey('next')];
    const first = connection.send(chargeRequest(slow, SLOW));
    await eventually('it is at the gateway', async () => (await fleet.evidence.effects(slow)).length > 0);
    service.signal('SIGTERM');
    await service.says('stopping');
    expect(await balancer.send('GET /health/ready HTTP/1.1\r\nhost: test\r\n\r\n')).toBe(
      'HTTP/1.1 503 Service Unavailable, connection: close',
    );
    expect(await first).toContain('201 Created');
    expect(await connection.send(chargeRequest(next))).toBe('HTTP/1.1 201 Created, connection: close');
    expect(await service.ended()).toBeNull();
    for (const key of [slow, next]) await expectChargedOnce(fleet.evidence, key);
  });
});

describe('an app that is closed', () => {
  it('is not held open by connections that ask nothing, and closes them without a reset', async () => {
    const service = await TestApp.start();
    const baseUrl = await service.app.getUrl();
    const idle = await KeptConnection.open(baseUrl);
    const unused = new KeptConnection(baseUrl);
    await unused.connected;
    await closeApp(service.app);
    expect([await idle.end, await unused.end]).toEqual(['closed', 'closed']);
    await service.stop();
  });
});

function chargeRequest(key: string, body = chargeBody()): string {
  const text = JSON.stringify(body);
  return [
    'POST /v1/payments HTTP/1.1',
    'host: test',
    `authorization: Bearer ${API_KEY}`,
    `idempotency-key: ${key}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(text)}`,
    '',
    text,
  ].join('\r\n');
}

/** One connection and nothing else: it never reconnects, and never repeats a request. */
class KeptConnection {
  readonly connected: Promise<void>;
  /** How the connection ended: `closed`, or the error's code. */
  readonly end: Promise<string>;
  private readonly socket: Socket;
  private received = '';

  constructor(baseUrl: string) {
    const { hostname, port } = new URL(baseUrl);
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true });
    this.socket.setEncoding('utf8').on('data', (text: string) => (this.received += text));
    this.connected = new Promise((resolve) => this.socket.once('connect', resolve));
    this.end = new Promise((resolve) => {
      this.socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      this.socket.once('close', () => resolve('closed'));
    });
  }

  /** A connection that has been used once, and that the server keeps open. */
  static async open(baseUrl: string): Promise<KeptConnection> {
    const connection = new KeptConnection(baseUrl);
    const first = await connection.send('GET /health/live HTTP/1.1\r\nhost: test\r\n\r\n');
    if (first !== 'HTTP/1.1 200 OK, connection: keep-alive') throw new Error(`not kept: ${first}`);
    return connection;
  }

  /** @returns the answer's status line and its `Connection` header, or how the connection ended without an answer */
  async send(request: string): Promise<string> {
    this.received = '';
    this.socket.write(request);
    return Promise.race([this.answer(), this.end.then((end) => this.whole() ?? `no answer: ${end}`)]);
  }

  private async answer(): Promise<string> {
    for (;;) {
      const whole = this.whole();
      if (whole !== null) return whole;
      await new Promise((resolve) => this.socket.once('data', resolve));
    }
  }

  private whole(): string | null {
    const [head = '', body] = this.received.split('\r\n\r\n', 2);
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
    if (body === undefined || Buffer.byteLength(body) < length) return null;
    const connection = /^connection: (.*)$/im.exec(head)?.[1];
    return `${head.split('\r\n', 1)[0]}, connection: ${connection}`;
  }
}
