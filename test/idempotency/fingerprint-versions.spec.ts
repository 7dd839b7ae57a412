import { jest } from '@jest/globals';
import { AUTOMATIC, post } from '../support/api.js';
import { charge, chargeBody, isReplay, newKey, SLOW, WAIT } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { expectBooksToAgree, expectChargedOnce } from '../support/evidence.js';
import { ServiceProcess } from '../support/service-process.js';
import type { TestApp } from '../support/test-app.js';

const VERSIONS = '../../src/idempotency/fingerprint-versions.js';
const real = await import('../../src/idempotency/fingerprint-versions.js');

/** A version that this build does not have. The process in this test knows and writes it. */
jest.unstable_mockModule(VERSIONS, () => ({
  ...real,
  WRITTEN_VERSION: 'v2',
  FINGERPRINT_VERSIONS: {
    ...real.FINGERPRINT_VERSIONS,
    v2: (contents: object) => `another form of ${JSON.stringify(contents)}`,
  },
}));
const { fingerprint, sameRequest } = await import('../../src/idempotency/fingerprint.js');
const { createApp } = await import('../../src/app.js');
const { TestApp: App } = await import('../support/test-app.js');

describe('a stored fingerprint', () => {
  const contents = { operation: 'charge', body: chargeBody() };
  const other = { operation: 'charge', body: chargeBody({ amount: 2000 }) };
  const requestWith = (asked: typeof contents) => ({ fingerprint: fingerprint(asked), contents: asked });

  it.each(['v1', 'v2'])('of version %s stands for the same request and no other', (version) => {
    const stored = fingerprint(contents, version);
    expect(stored).toMatch(`${version}:`);
    expect(sameRequest(stored, requestWith(contents))).toBe(true);
    expect(sameRequest(stored, requestWith(other))).toBe(false);
  });

  it.each([null, '', 'v1:', 'v3:x', 'toString:x', fingerprint(contents).slice(3)])(
    'of no version that we know (%s) stands for no request',
    (stored) => expect(sameRequest(stored, requestWith(contents))).toBe(false),
  );
});

describe('a process that writes a newer fingerprint, beside one of the version before', () => {
  let older: ServiceProcess;
  let newer: TestApp;
  let baseUrl: string;

  beforeAll(async () => {
    const env = { IDEMPOTENCY_MISSING_KEY: 'derive' };
    newer = await App.start(env, async (config, databaseUrl, logger) => {
      const app = await createApp(config, databaseUrl, logger);
      older = await ServiceProcess.start({ databaseUrl, dataDir: config.dataDir, env });
      return app;
    });
    baseUrl = await newer.app.getUrl();
  });
  afterEach(() => expectBooksToAgree(newer.evidence));
  afterAll(async () => {
    await older.kill();
    await newer.stop();
  });

  async function versionOf(key: string): Promise<string | undefined> {
    const [claim] = await newer.evidence.query<{ version: string }>(
      `SELECT split_part(fingerprint, ':', 1) AS version FROM idempotency_keys WHERE idempotency_key = $1`,
      [key],
    );
    return claim?.version;
  }

  it('writes its own version', async () => {
    const key = newKey();
    await charge({ baseUrl }, key);
    expect(await versionOf(key)).toBe('v2');
  });

  it('gives the first answer to a key of the version before, and refuses another request under it', async () => {
    const key = newKey();
    const first = await charge(older, key);
    expect(await versionOf(key)).toBe('v1');
    // First from the database, then from memory.
    for (let time = 0; time < 2; time += 1) {
      const again = await charge({ baseUrl }, key);
      expect([again.status, again.body, isReplay(again)]).toEqual([201, first.body, true]);
      const reused = await charge({ baseUrl }, key, { body: chargeBody({ amount: 1 }) });
      expect([reused.status, reused.json['code']]).toEqual([422, 'idempotency_key_reused']);
    }
    await expectChargedOnce(newer.evidence, key);
  });

  it('does so when the answer has been reaped, too', async () => {
    const key = newKey();
    const first = await charge(older, key);
    await newer.evidence.query('DELETE FROM idempotency_keys WHERE idempotency_key = $1', [key]);
    const reused = await charge({ baseUrl }, key, { body: chargeBody({ amount: 1 }) });
    expect([reused.status, reused.json['code']]).toEqual([422, 'idempotency_key_reused']);
    await newer.evidence.query('DELETE FROM idempotency_keys WHERE idempotency_key = $1', [key]);
    const again = await charge({ baseUrl }, key);
    expect([again.status, again.json, isReplay(again)]).toEqual([201, first.json, true]);
    await expectChargedOnce(newer.evidence, key);
  });

  it('waits for a request of the version before that is still running', async () => {
    const key = newKey();
    const first = charge(older, key, { body: SLOW });
    await eventually('it is at the gateway', async () => (await newer.evidence.effects(key)).length > 0);
    expect(await charge({ baseUrl }, key, { body: SLOW })).toMatchObject({
      status: 409,
      json: { code: 'idempotency_key_in_progress' },
    });
    const waited = await charge({ baseUrl }, key, { body: SLOW, headers: WAIT });
    expect([waited.status, waited.body]).toEqual([201, (await first).body]);
    await expectChargedOnce(newer.evidence, key);
  });

  it('derives the same key for a request without one', async () => {
    const body = { ...AUTOMATIC, description: newKey() };
    const first = await post(older, '/v1/payments', { key: null, body });
    const again = await post({ baseUrl }, '/v1/payments', { key: null, body });
    expect([again.status, again.body]).toEqual([201, first.body]);
    expect(again.headers.get('idempotency-key')).toBe(first.headers.get('idempotency-key'));
  });
});
