import { randomUUID } from 'node:crypto';
import { reconcile } from '../../src/cli/reconcile.js';
import { SandboxBooks } from '../../src/gateways/sandbox/sandbox-books.js';
import { join } from 'node:path';
import { SECRET_KEY, StripeServer } from '../gateways/stripe-server.js';
import { found } from '../reconciliation/two-books.js';
import { AUTOMATIC, MANUAL, post } from '../support/api.js';
import { newKey, type Reply } from '../support/client.js';
import {
  copyTestDatabase,
  createTemporaryFolder,
  createTestDatabase,
  type TemporaryFolder,
  type TestDatabase,
} from '../support/postgres.js';
import { ServiceProcess } from '../support/service-process.js';

/** One effect at the provider, in its own words. */
type Effect = string;

/** A provider, with its own account of what happened to money. */
interface Provider {
  env: Record<string, string>;
  effects(): Effect[];
  close(): Promise<void>;
}

function sandbox(folder: TemporaryFolder): Provider {
  const books = new SandboxBooks(join(folder.path, 'sandbox-gateway', 'books.sqlite'));
  return {
    env: {},
    effects: () =>
      books.effects().map(({ kind, reference, amountMinor }) => `${kind} ${reference} ${amountMinor}`),
    close: () => Promise.resolve(books.close()),
  };
}

async function stripe(): Promise<Provider> {
  const server = await StripeServer.start();
  const { api } = server;
  return {
    env: { GATEWAY: 'stripe', STRIPE_SECRET_KEY: SECRET_KEY, STRIPE_API_BASE: server.url },
    effects: () => [
      ...[...api.intents.values()].map(
        ({ id, status, amount_received }) => `${status} ${id} ${amount_received}`,
      ),
      ...[...api.refunds.values()].map(({ id, status, amount }) => `refund ${status} ${id} ${amount}`),
    ],
    close: () => server.close(),
  };
}

/** What a client asks for, again and again under the same keys, whatever the ids are that it is told. */
class Client {
  private readonly keys = new Map<string, string>();

  constructor(private readonly service: ServiceProcess) {}

  on(service: ServiceProcess): Client {
    const other = new Client(service);
    for (const [name, key] of this.keys) other.keys.set(name, key);
    return other;
  }

  key(name: string): string {
    const key = this.keys.get(name) ?? newKey();
    this.keys.set(name, key);
    return key;
  }

  async send(name: string, path: string, body: object = {}): Promise<Reply> {
    const reply = await post(this.service, path, { key: this.key(name), body });
    if (reply.status >= 202) throw new Error(`${name}: ${reply.status} ${reply.body}`);
    return reply;
  }

  async pay(name: string, body: object = AUTOMATIC): Promise<string> {
    return String((await this.send(name, '/v1/payments', body)).json['transaction_id']);
  }

  reverse(name: string, reversed: string): Promise<Reply> {
    return this.send(name, '/v1/reversals', { idempotency_key: this.key(reversed) });
  }

  /** What the copy of the database still knows. */
  async beforeTheCopy() {
    return {
      charged: await this.pay('kept charge'),
      captured: await this.pay('kept authorization 1', MANUAL),
      canceled: await this.pay('kept authorization 2', MANUAL),
      reversed: await this.pay('kept charge to reverse'),
    };
  }

  /** What the copy has forgotten: changes of kept payments, and whole payments with all that happened to them. */
  async afterTheCopy(kept: Awaited<ReturnType<Client['beforeTheCopy']>>): Promise<unknown[]> {
    const replies = [
      await this.send('refund of kept', `/v1/payments/${kept.charged}/refunds`, { amount: 300 }),
      await this.send('capture of kept', `/v1/payments/${kept.captured}/capture`, { amount: 600 }),
      await this.send('cancel of kept', `/v1/payments/${kept.canceled}/cancel`),
      await this.reverse('reversal of kept', 'kept charge to reverse'),
    ];
    await this.pay('charge');
    const captured = await this.pay('authorization 1', MANUAL);
    const canceled = await this.pay('authorization 2', MANUAL);
    const refunded = await this.pay('charge to refund');
    await this.pay('charge to reverse');
    await this.pay('authorization to reverse', MANUAL);
    replies.push(
      await this.send('capture', `/v1/payments/${captured}/capture`, { amount: 700 }),
      await this.send('cancel', `/v1/payments/${canceled}/cancel`),
      await this.send('part', `/v1/payments/${refunded}/refunds`, { amount: 400 }),
      await this.send('rest', `/v1/payments/${refunded}/refunds`),
      await this.reverse('reversal', 'charge to reverse'),
      await this.reverse('reversal of authorization', 'authorization to reverse'),
    );
    return replies.map(({ json: { status, outcome, amount, amount_captured } }) => [
      status,
      outcome ?? null,
      amount ?? null,
      amount_captured ?? null,
    ]);
  }
}

const FORGOTTEN = [
  ...Array<string>(3).fill('missing here: authorization no_payment'),
  'missing here: capture no_payment',
  'missing here: capture not_settled',
  ...Array<string>(3).fill('missing here: charge no_payment'),
  ...Array<string>(3).fill('missing here: refund no_payment'),
  ...Array<string>(2).fill('missing here: refund not_settled'),
  ...Array<string>(2).fill('missing here: void no_payment'),
  'missing here: void not_settled',
];

describe.each<[string, (folder: TemporaryFolder) => Provider | Promise<Provider>]>([
  ['the sandbox', sandbox],
  ['Stripe', stripe],
])('a database that has lost its tail, with %s', (_name, open) => {
  let folder: TemporaryFolder;
  let provider: Provider;
  const databases: TestDatabase[] = [];
  const services: ServiceProcess[] = [];

  beforeAll(async () => {
    folder = await createTemporaryFolder();
    provider = await open(folder);
  });
  afterAll(async () => {
    await Promise.all(services.map((service) => service.kill()));
    await Promise.all(databases.map((database) => database.drop()));
    await provider.close();
    await folder.remove();
  });

  const envOn = (database: TestDatabase) => ({
    DATABASE_URL: database.url,
    DATA_DIR: folder.path,
    SANDBOX: 'true',
    ...provider.env,
  });

  async function start(database: TestDatabase): Promise<ServiceProcess> {
    const service = await ServiceProcess.start({
      databaseUrl: database.url,
      dataDir: folder.path,
      env: provider.env,
    });
    services.push(service);
    return service;
  }

  const compare = (database: TestDatabase) =>
    reconcile(envOn(database), {
      from: null,
      to: null,
      merchantId: null,
      openAfterMs: 0,
      shown: 100,
      repair: false,
    });

  it('lists exactly what it has forgotten, and repeats none of it when it is asked again under the same keys', async () => {
    const original = await createTestDatabase();
    databases.push(original);
    let service = await start(original);
    const client = new Client(service);
    const kept = await client.beforeTheCopy();
    await service.stop();
    const copy = await copyTestDatabase(original);
    databases.push(copy);
    const known = provider.effects();

    service = await start(original);
    const first = client.on(service);
    const answers = await first.afterTheCopy(kept);
    await service.stop();
    const effects = provider.effects();
    expect(effects.length).toBeGreaterThan(known.length);
    expect(found(await compare(original))).toEqual([]);

    // The copy is put back.
    expect(found(await compare(copy))).toEqual(FORGOTTEN);
    service = await start(copy);
    expect(await first.on(service).afterTheCopy(kept)).toEqual(answers);
    expect(provider.effects()).toEqual(effects);
    expect(found(await compare(copy))).toEqual([]);

    // A new key is a new payment, also after a loss.
    await first.on(service).pay(`another ${randomUUID()}`);
    expect(provider.effects()).toHaveLength(effects.length + 1);
  });
});
