import { randomBytes } from 'node:crypto';
import { Module, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { v7 as uuidv7 } from 'uuid';
import { AppModule } from '../../src/app.module.js';
import type { createApp } from '../../src/app.js';
import type { Config } from '../../src/config/config.js';
import { PipelinedTransactions } from '../../src/database/pipelined-transactions.js';
import { createFastifyAdapter } from '../../src/http/fastify.js';
import { NestLogger } from '../../src/http/nest-logger.js';
import { ClaimsStore } from '../../src/idempotency/claims.store.js';
import { fingerprint } from '../../src/idempotency/fingerprint.js';
import { uuidv8 } from '../../src/ids/uuidv8.js';
import { OperationRegistry } from '../../src/idempotency/operation.registry.js';
import { SettlementSinks } from '../../src/idempotency/settlement-sinks.js';
import { AUTOMATIC, get, newPayment, post } from '../support/api.js';
import { newKey, WAIT, type Reply } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectVerified } from '../support/evidence.js';
import { TestApp } from '../support/test-app.js';
import { FlagProvider } from './flags/flag-provider.js';
import { FlagOperation } from './flags/flag.operation.js';
import { FlagsModule } from './flags/flags.module.js';
import { FLAGS_TABLE, FlagsStore } from './flags/flags.store.js';

const DUPLICATES = 50;
/** A lease that has expired as soon as it is taken. */
const NO_LEASE_MS = 0;
const BODY = { reason: 'looks odd' };

/** The service with one more room. The entry would list it in `app.module.ts`. */
@Module({})
class AppWithFlags {
  static forRoot(config: Config, databaseUrl: string): DynamicModule {
    return { module: AppWithFlags, imports: [AppModule.forRoot(config, databaseUrl), FlagsModule] };
  }
}

const createAppWithFlags: typeof createApp = async (config, databaseUrl, logger) => {
  const app = await NestFactory.create<NestFastifyApplication>(
    AppWithFlags.forRoot(config, databaseUrl),
    createFastifyAdapter(config, logger),
    { logger: new NestLogger(logger), bodyParser: false, abortOnError: false },
  );
  app.get(OperationRegistry).register([app.get(FlagOperation)]);
  app.get(SettlementSinks).register([app.get(FlagsStore)]);
  await app.get(PipelinedTransactions).read({ name: 'flags.create', text: FLAGS_TABLE, values: [] });
  return app;
};

describe('an operation in a room of its own, added as CONTRIBUTING.md says', () => {
  let service: TestApp;
  let baseUrl: string;
  let provider: FlagProvider;
  let transactionId: string;

  beforeAll(() => start({ IDEMPOTENCY_LEASE: '3s' }));
  beforeEach(async () => {
    provider.behaviour = 'answers';
    for (const list of [provider.calls, provider.inquiries, provider.flagged]) list.length = 0;
    transactionId = await newPayment({ baseUrl }, AUTOMATIC);
  });
  afterEach(() => expectVerified(service.evidence));
  afterAll(() => service.stop());

  async function start(env: Record<string, string>): Promise<void> {
    service = await TestApp.start(env, createAppWithFlags);
    baseUrl = await service.app.getUrl();
    provider = service.app.get(FlagProvider);
  }

  const flag = (key: string, body: object = BODY, headers = {}) =>
    post({ baseUrl }, `/v1/payments/${transactionId}/flags`, { key, body, headers });

  const isFirst = ({ headers }: Reply) => headers.get('idempotent-replayed') === 'false';

  it('acts once for fifty duplicates, which all get the same bytes', async () => {
    const key = newKey();
    const replies = await Promise.all(Array.from({ length: DUPLICATES }, () => flag(key, BODY, WAIT)));
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([201]));
    expect(new Set(replies.map(({ body }) => body)).size).toBe(1);
    expect(replies.filter(isFirst)).toHaveLength(1);
    expect(replies[0]?.json).toEqual({
      transaction_id: transactionId,
      reason: 'looks odd',
      status: 'flagged',
    });
    await expectFlaggedOnce(key);
    expect(provider.calls).toHaveLength(1);
    expect((await get({ baseUrl }, `/v1/events?transaction_id=${transactionId}`)).json).toMatchObject({
      data: [
        { type: 'payment.flagged', sequence: 2, data: { transaction_id: transactionId } },
        { type: 'payment.completed', sequence: 1 },
      ],
    });
  });

  it('refuses another body under the same key', async () => {
    const key = newKey();
    await flag(key);
    expect(await flag(key, { reason: 'something else' })).toMatchObject({
      status: 422,
      json: { code: 'idempotency_key_reused' },
    });
    await expectFlaggedOnce(key);
  });

  it('gives each of several flags of one payment the next number in its sequence of events', async () => {
    const keys = [newKey(), newKey(), newKey()];
    await Promise.all(keys.map((key) => flag(key)));
    expect(await eventsOfPayment()).toEqual(
      [1, 2, 3, 4].map((sequence) => expect.objectContaining({ sequence })),
    );
    expect(provider.flagged).toHaveLength(keys.length);
  });

  it('answers 202 while the outcome is unknown; recovery inquires, settles, and never sends again', async () => {
    const key = newKey();
    provider.behaviour = 'loses its answer';
    expect(await flag(key)).toMatchObject({ status: 202, json: { status: 'pending' } });
    expect(await eventsOfPayment()).toHaveLength(1);
    await settled(key);
    await expectFlaggedOnce(key);
    expect(provider.calls).toHaveLength(1);
    expect(provider.inquiries).toEqual(provider.calls);
    const reply = await flag(key);
    expect(reply).toMatchObject({ status: 201, json: { status: 'flagged' } });
    expect(isFirst(reply)).toBe(false);
  });

  it.each([
    ['before it called', false],
    ['after it called', true],
  ])('goes on, under the same gateway key, when its owner was lost %s', async (_when, hadCalled) => {
    const key = newKey();
    const claimId = await reserveAndDie(key, hadCalled);
    await settled(key);
    await expectFlaggedOnce(key);
    expect(provider.calls).toEqual([claimId]);
    const reply = await flag(key);
    expect(reply).toMatchObject({ status: 201, json: { status: 'flagged' } });
    expect(isFirst(reply)).toBe(false);
  });

  it('stores a refusal, writes no event for it, and asks only once', async () => {
    const key = newKey();
    provider.behaviour = 'refuses';
    const first = await flag(key);
    expect(first).toMatchObject({ status: 402, json: { code: 'card_declined' } });
    provider.behaviour = 'answers';
    const second = await flag(key);
    expect(second).toMatchObject({ status: 402, body: first.body });
    expect([first, second].map(isFirst)).toEqual([true, false]);
    expect(await eventsOfPayment()).toHaveLength(1);
    expect(await flagRow(key)).toMatchObject([{ status: 'refused', times_settled: 1 }]);
    expect(provider.calls).toHaveLength(1);
  });

  it('says at the key route what became of a key', async () => {
    const key = newKey();
    await flag(key);
    expect(await get({ baseUrl }, `/v1/idempotency-keys/${key}`)).toMatchObject({
      status: 200,
      json: { operation: 'flag_payment', state: 'completed', response_status: 201 },
    });
  });

  describe('whose answer was reaped', () => {
    let withLongRetention: TestApp;

    beforeAll(async () => {
      withLongRetention = service;
      await start({ IDEMPOTENCY_LEASE: '3s', IDEMPOTENCY_RETENTION: '1s' });
    });
    afterAll(async () => {
      await service.stop();
      service = withLongRetention;
    });

    it('still acts once, and still refuses another body', async () => {
      const key = newKey();
      const first = await flag(key);
      await eventually('the answer is reaped', async () => (await service.evidence.claim(key)) === undefined);
      const second = await flag(key);
      expect(second).toMatchObject({ status: 201, body: first.body });
      expect(isFirst(second)).toBe(false);
      expect(await flag(key, { reason: 'something else' })).toMatchObject({ status: 422 });
      await expectFlaggedOnce(key);
      expect(provider.calls).toHaveLength(1);
    });
  });

  /** Claims the key and reserves for it, like an owner that then dies, before or after its call. */
  async function reserveAndDie(key: string, hasCalled: boolean): Promise<string> {
    const [payment] = await service.evidence.query<{ merchant_id: string }>(
      'SELECT merchant_id FROM payments WHERE transaction_id = $1',
      [transactionId],
    );
    const operation = service.app.get(FlagOperation);
    const claims = service.app.get(ClaimsStore);
    const contents = { operation: operation.name, params: { transactionId }, body: BODY };
    const request = {
      merchantId: payment!.merchant_id,
      idempotencyKey: key,
      claimId: uuidv7(),
      gatewayKey: uuidv8(randomBytes(32)),
      operation: operation.name,
      fingerprint: fingerprint(contents),
      contents,
      resourceId: transactionId,
      lifetimeMs: null,
      command: { transactionId, ...BODY },
      requestId: uuidv7(),
      receivedAt: new Date(),
    };
    // Before recovery can take the claim, so that only the provider's own books know of the call.
    if (hasCalled) provider.flagged.push(request.gatewayKey);
    await service.app
      .get(PipelinedTransactions)
      .run((tx) => [claims.take(tx, [request], NO_LEASE_MS), operation.reserve(tx, [request])]);
    return request.gatewayKey;
  }

  const settled = (key: string) =>
    eventually('it is settled', async () => (await service.evidence.claim(key))?.status === 'completed');

  const flagRow = (key: string) =>
    service.evidence.query('SELECT * FROM payment_flags WHERE idempotency_key = $1', [key]);

  const eventsOfPayment = () =>
    service.evidence.query('SELECT type, sequence FROM events WHERE transaction_id = $1 ORDER BY sequence', [
      transactionId,
    ]);

  /** One effect at the provider, one row of ours settled once, and one event after the charge's. */
  async function expectFlaggedOnce(key: string): Promise<void> {
    expect(provider.flagged).toHaveLength(1);
    const [gatewayKey] = provider.flagged;
    expect(await flagRow(key)).toMatchObject([
      { status: 'flagged', gateway_key: gatewayKey, reference: `flag_${gatewayKey}`, times_settled: 1 },
    ]);
    expect(await eventsOfPayment()).toEqual([
      { type: 'payment.completed', sequence: 1 },
      { type: 'payment.flagged', sequence: 2 },
    ]);
  }
});
