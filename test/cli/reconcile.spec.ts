import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { TwoBooks } from '../reconciliation/two-books.js';
import { AUTOMATIC, newPayment } from '../support/api.js';
import { childEnvironment } from '../support/child-environment.js';
import { charge, chargeBody, newKey } from '../support/client.js';

const CLI = join(import.meta.dirname, '../../src/cli/cli.js');

interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the real command as a person would. */
function cli(env: Readonly<Record<string, string>>, ...args: string[]): Promise<Run> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', CLI, 'reconcile', ...args],
      { env: childEnvironment(env) },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

describe('the command that compares the books', () => {
  let books: TwoBooks;

  beforeAll(async () => {
    books = await TwoBooks.open();
  });
  afterAll(() => books.close());

  it('shows the differences as text and as JSON, repairs them, and sets the exit code by the result', async () => {
    await newPayment(books.service, AUTOMATIC);
    const agreed = await cli(books.env);
    expect([agreed.code, agreed.stderr]).toEqual([0, '']);
    expect(agreed.stdout).toMatch(
      /^Compared 1 payments and 0 refunds with 1 effects in the books of sandbox\.\n[^]*\nThe books agree\.\n$/,
    );

    const pending = await charge(books.service, newKey(), {
      body: chargeBody({ payment_method: 'pm_gateway_timeout_after_charge' }),
    });
    const told = await cli(books.env, '--open-after', '0s');
    expect([told.code, told.stderr]).toEqual([1, '']);
    expect(told.stdout).toMatch(
      /\nMissing here \(.*\): 1\n\nKIND +REFERENCE +TRANSACTION +REFUND +KEY +AMOUNT +AT +HERE/,
    );
    expect(told.stdout).toMatch(
      /\ncharge +sbx_\S+ +\S{36} +- +\S{36} +1999 EUR +\S+Z +pending +Its end is known: --repair/,
    );
    expect(told.stdout).toMatch(/\nMissing there \(.*\): none\n[^]*\nThe books differ\.\n$/);

    const json = await cli(books.env, '--open-after', '0s', '--json');
    expect([json.code, json.stderr]).toEqual([1, '']);
    expect(json.stdout).toMatch(/^\{.*\}\n$/);
    expect(JSON.parse(json.stdout)).toEqual({
      agrees: false,
      gateway: 'sandbox',
      from: null,
      to: null,
      merchant_id: null,
      compared: { payments: 2, refunds: 0, effects: 2 },
      repaired: null,
      missing_here: {
        count: 1,
        data: [
          {
            kind: 'charge',
            merchant_id: pending.json['merchant_id'],
            transaction_id: pending.json['transaction_id'],
            refund_id: null,
            gateway_key: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-8/),
            reference: expect.stringMatching(/^sbx_/),
            charge_reference: expect.stringMatching(/^sbx_/),
            amount: 1999,
            currency: 'EUR',
            at: expect.stringMatching(/^\d{4}-.*Z$/),
            status_here: 'pending',
            reason: 'open',
            repairable: true,
            advice: expect.any(String),
          },
        ],
      },
      missing_there: { count: 0, data: [] },
      amount_differs: { count: 0, data: [] },
      open: { count: 0, overdue: 0, data: [] },
    });

    const repaired = await cli(books.env, '--open-after', '0s', '--repair', '--json');
    expect([repaired.code, repaired.stderr]).toEqual([0, '']);
    expect(JSON.parse(repaired.stdout)).toMatchObject({ agrees: true, repaired: 1 });
  });

  it.each<[string, string[], RegExp]>([
    [
      'an impossible date',
      ['--from', '2026-13-01T00:00:00Z'],
      /a time such as 2026-01-31T00:00:00Z \(RFC 3339\)/,
    ],
    [
      'an empty range',
      ['--from', '2026-01-31T00:00:00Z', '--to', '2026-01-31T01:00:00+01:00'],
      /--from must be before --to/,
    ],
    ['a negative number', ['--limit', '-1'], /whole number/],
  ])('answers %s with exit code 2', async (_name, args, message) => {
    const { code, stdout, stderr } = await cli({}, ...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/ {4}at /);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    [
      'the gateway is down',
      { SANDBOX_GATEWAY_URL: 'http://127.0.0.1:1' },
      /^The sandbox gateway at http:\/\/127\.0\.0\.1:1 cannot be asked: .*\n$/,
    ],
    [
      'the database is down',
      { DATABASE_URL: 'postgres://u@127.0.0.1:1/x' },
      /^The database refused: .*ECONNREFUSED.*\n$/,
    ],
  ])('answers with one sentence and exit code 2 when %s', async (_name, env, message) => {
    const { code, stdout, stderr } = await cli({ ...books.env, ...env });
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(message);
  });
});
