import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import type { OutboxEvent } from '../../src/events/event.js';
import { messageBody, messageHeaders } from '../../src/webhooks/delivery/webhook-message.js';
import { newSecret } from '../../src/webhooks/endpoints/webhook-secret.js';
import { childEnvironment } from '../support/child-environment.js';
import { createTestDatabase, type TestDatabase } from '../support/postgres.js';
import { newEvents } from '../support/webhooks.js';

const DOCUMENT = join(import.meta.dirname, '../../../docs/webhooks.md');
/** Next to this file, so that it finds the packages. */
const PROGRAM = join(import.meta.dirname, `documented-receiver-${process.pid}.mjs`);

describe('the receiver of docs/webhooks.md', () => {
  const secret = newSecret();
  let database: TestDatabase;
  let child: ChildProcess;
  let url: string;
  let output = '';

  beforeAll(async () => {
    const [, code] = /```js\n(.*?)```/s.exec(await readFile(DOCUMENT, 'utf8')) as unknown as [string, string];
    await writeFile(PROGRAM, code);
    database = await createTestDatabase();
    const port = await freePort();
    url = `http://127.0.0.1:${port}/`;
    child = spawn(process.execPath, [PROGRAM], {
      env: childEnvironment({
        DATABASE_URL: database.url,
        WEBHOOK_SECRET: secret,
        PORT: String(port),
      }),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (output += text));
    while (!output.includes('listening')) await once(child.stdout!, 'data');
  });
  afterAll(async () => {
    child.kill();
    await once(child, 'exit');
    await database.drop();
    await rm(PROGRAM);
  });

  async function deliver(event: OutboxEvent, by = secret): Promise<number> {
    const body = messageBody(event);
    const headers = messageHeaders(event.eventId, body, [by], new Date());
    return (await fetch(url, { method: 'POST', headers, body })).status;
  }

  const applied = (event: OutboxEvent) =>
    [...output.matchAll(new RegExp(`^${event.transactionId} (\\d+)`, 'gm'))].map(([, sequence]) =>
      Number(sequence),
    );

  it('applies every event of a payment once and in order, however often and in whatever order they arrive', async () => {
    const events = newEvents(8);
    const arrivals = [5, 1, 1, 0, 7, 2, 0, 6, 4, 3, 5].map((index) => events[index]!);
    expect(await Promise.all(arrivals.map((event) => deliver(event)))).toEqual(arrivals.map(() => 204));
    expect(applied(events[0]!)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it('refuses a message signed with another secret, and one without a signature', async () => {
    const [event] = newEvents(1) as [OutboxEvent];
    expect(await deliver(event, newSecret())).toBe(401);
    expect((await fetch(url, { method: 'POST', body: messageBody(event) })).status).toBe(401);
    expect(applied(event)).toEqual([]);
  });

  it('accepts a message signed with two secrets during a rotation', async () => {
    const [event] = newEvents(1) as [OutboxEvent];
    const body = messageBody(event);
    const headers = messageHeaders(event.eventId, body, [newSecret(), secret], new Date());
    expect(headers['webhook-signature']!.split(' ')).toHaveLength(2);
    expect(new Webhook(secret).verify(body, headers)).toBeTruthy();
    expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(204);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
