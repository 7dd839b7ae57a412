import type { Config } from '../../src/config/config.js';
import { ConfigError, loadConfig } from '../../src/config/load-config.js';

const PRODUCTION = { DATABASE_URL: 'postgres://user:secret@db.example.com/hapax', SANDBOX: 'false' };
const STRIPE = { GATEWAY: 'stripe', STRIPE_SECRET_KEY: 'sk_test_1234567890' };

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

function gatewayOf({ gateway, stripe, gatewayMaxTries }: Config) {
  return { gateway, stripe, tries: gatewayMaxTries };
}

it('uses the sandbox gateway in the sandbox, none elsewhere, and Stripe if configured', () => {
  expect(gatewayOf(loadConfig({}))).toEqual({ gateway: 'sandbox', stripe: null, tries: 1 });
  expect(gatewayOf(loadConfig(PRODUCTION))).toEqual({ gateway: null, stripe: null, tries: 3 });
  const stripe = { secretKey: STRIPE.STRIPE_SECRET_KEY, apiBase: null, webhookSecret: null };
  for (const env of [{}, PRODUCTION]) {
    expect(gatewayOf(loadConfig({ ...env, ...STRIPE }))).toEqual({ gateway: 'stripe', stripe, tries: 3 });
  }
});

it("reads Stripe's address and the secret of its notifications", () => {
  const env = {
    ...PRODUCTION,
    ...STRIPE,
    STRIPE_API_BASE: 'http://127.0.0.1:12111',
    STRIPE_WEBHOOK_SECRET: 'whsec_1234567890',
  };
  expect(loadConfig(env).stripe).toMatchObject({
    apiBase: 'http://127.0.0.1:12111',
    webhookSecret: 'whsec_1234567890',
  });
});

it.each<[string, Record<string, string>, RegExp]>([
  [
    'the sandbox gateway outside the sandbox',
    { ...PRODUCTION, GATEWAY: 'sandbox' },
    /GATEWAY=sandbox is only for the sandbox/,
  ],
  ['a gateway that does not exist', { GATEWAY: 'strype' }, /GATEWAY must be one of sandbox, stripe/],
  ['Stripe without a key', { ...PRODUCTION, GATEWAY: 'stripe' }, /STRIPE_SECRET_KEY is required/],
  [
    'a publishable key',
    { ...PRODUCTION, ...STRIPE, STRIPE_SECRET_KEY: 'pk_test_1234567890' },
    /must be one of Stripe's secret keys/,
  ],
  ['a live key in the sandbox', { ...STRIPE, STRIPE_SECRET_KEY: 'sk_live_1234567890' }, /live key/],
  ['Stripe over plain HTTP', { ...STRIPE, STRIPE_API_BASE: 'http://stripe.example.com' }, /STRIPE_API_BASE/],
  ['a path', { ...STRIPE, STRIPE_API_BASE: 'https://stripe.example.com/v1' }, /STRIPE_API_BASE/],
  [
    'a webhook secret of another kind',
    { ...STRIPE, STRIPE_WEBHOOK_SECRET: 'sk_test_1234567890' },
    /STRIPE_WEBHOOK_SECRET/,
  ],
  [
    'a timeout per try over the whole timeout',
    { GATEWAY_TIMEOUT: '5s', GATEWAY_TRY_TIMEOUT: '6s' },
    /GATEWAY_TRY_TIMEOUT/,
  ],
  ['no tries', { GATEWAY_TRIES: '0' }, /GATEWAY_TRIES/],
])('refuses %s', (_name, env, problem) => {
  const problems = problemsOf(env);
  expect(problems).toHaveLength(1);
  expect(problems[0]).toMatch(problem);
});

it('never repeats a secret, even a wrong one', () => {
  const secrets = {
    STRIPE_SECRET_KEY: 'pk_test_doNotRepeatMe',
    STRIPE_WEBHOOK_SECRET: 'doNotRepeatMeEither',
  };
  expect(problemsOf({ ...STRIPE, ...secrets }).join()).not.toContain('doNotRepeat');
});

it('gives each try two thirds of the whole timeout, and a single try all of it', () => {
  expect(loadConfig({ GATEWAY_TIMEOUT: '30s', GATEWAY_TRIES: '2' }).gatewayTryTimeoutMs).toBe(20_000);
  expect(loadConfig({ GATEWAY_TIMEOUT: '30s', GATEWAY_TRIES: '1' }).gatewayTryTimeoutMs).toBe(30_000);
  expect(loadConfig({ GATEWAY_TIMEOUT: '1ms' }).gatewayTryTimeoutMs).toBe(1);
});
