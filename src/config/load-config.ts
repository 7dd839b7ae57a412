import { resolve } from 'node:path';
import ms from 'ms';
import {
  GATEWAY_NAMES,
  LOG_LEVELS,
  MISSING_KEY_POLICIES,
  type Config,
  type GatewayName,
  type RateLimit,
  type SandboxGatewayConfig,
  type StripeConfig,
  type WebhooksConfig,
} from './config.js';
import { EnvironmentReader, type Environment } from './environment-reader.js';

/** All wrong values, one line each, ready to show to the person who started the service. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly problems: readonly string[]) {
    super(`The configuration is wrong:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

const MIN_LEASE_MS = 500;
const DEFAULT_LEASE_MS = 60_000;
const DEFAULT_GATEWAY_TIMEOUT_MS = 30_000;
/** The share of a lease that a gateway call may use. The rest is for settling. */
const GATEWAY_SHARE_OF_LEASE = 0.8;
/** If a try ends early, there is time for another one, which gets the outcome under the same key. */
const TRY_SHARE_OF_GATEWAY_TIMEOUT = 2 / 3;
const MAX_GATEWAY_TRIES = 10;
const DEFAULT_GATEWAY_TRIES = 3;
/** In the sandbox a rehearsed disaster must reach the person who rehearses it, so it is not retried away. */
const SANDBOX_GATEWAY_TRIES = 1;
const DEFAULT_MAX_CONCURRENT_CALLS = 256;
const MAX_CONCURRENT_CALLS = 10_000;
/** A secret key, or a restricted one. Never a publishable one (`pk_`). */
const STRIPE_KEY = /^[sr]k_[\x21-\x7e]{8,250}$/;
/** Never change it: a deployment that does not set the variable would derive other keys for the same requests. */
const DEFAULT_GATEWAY_KEY_NAMESPACE = 'hapax';
const STRIPE_LIVE_KEY = /^[sr]k_live_/;
const STRIPE_WEBHOOK_SECRET = /^whsec_[\x21-\x7e]{8,250}$/;
const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
/** Far more than a shop needs, and far too little for one client to crowd out all others. */
const DEFAULT_RATE_LIMIT: RateLimit = { requests: 1_000, windowSeconds: 1 };
const DEFAULT_SANDBOX_API_KEY = 'sk_sandbox_hapax';
/** As public as the sandbox's API key, and accepted only in the sandbox. */
const DEFAULT_SANDBOX_WEBHOOK_SECRET = `whsec_${Buffer.from('hapax-sandbox-gateway-not-secret').toString('base64')}`;
/** Standard Webhooks: 24 to 64 bytes in base64. */
const STANDARD_WEBHOOKS_SECRET = /^whsec_[A-Za-z0-9+/]{32,86}={0,2}$/;

const DAY_MS = 24 * 3_600_000;
const DEFAULT_WEBHOOK_TIMEOUT_MS = 15_000;
/** As Standard Webhooks recommends, over more than three days. */
const DEFAULT_WEBHOOK_PAUSES = ['5s', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h'] as const;
const MAX_WEBHOOK_PAUSES = 20;

/**
 * Reads the environment.
 * @throws ConfigError naming every wrong value.
 */
export function loadConfig(env: Environment): Config {
  const read = new EnvironmentReader(env);
  const databaseUrl = read.postgresUrl('DATABASE_URL');
  const sandbox = read.boolean('SANDBOX', databaseUrl === null);
  const idempotencyLeaseMs = read.duration('IDEMPOTENCY_LEASE', DEFAULT_LEASE_MS, MIN_LEASE_MS);
  const gatewayTimeoutMs = readGatewayTimeout(read, idempotencyLeaseMs);
  const gateway = readGateway(read, sandbox);
  const tries = readGatewayTries(read, gateway, gatewayTimeoutMs);
  checkSandbox(read, env, sandbox, databaseUrl);
  const config: Config = {
    port: read.integer('PORT', 3000, 0, 65_535),
    host: read.text('HOST', sandbox ? '127.0.0.1' : '0.0.0.0'),
    publicUrl: read.httpUrl('PUBLIC_URL'),
    databaseUrl,
    databasePoolSize: read.integer('DATABASE_POOL_SIZE', 10, 3, 200),
    allowUnsafeDatabase: read.boolean('ALLOW_UNSAFE_DATABASE', false),
    sandbox,
    sandboxApiKey: sandbox ? read.apiKey('SANDBOX_API_KEY', DEFAULT_SANDBOX_API_KEY) : null,
    dataDir: resolve(read.text('DATA_DIR', '.data')),
    idempotencyLeaseMs,
    idempotencyRetentionMs: read.duration('IDEMPOTENCY_RETENTION', DAY_MS, 1_000),
    idempotencyMissingKey: read.oneOf('IDEMPOTENCY_MISSING_KEY', MISSING_KEY_POLICIES, 'reject'),
    idempotencyDerivedWindowMs: read.duration('IDEMPOTENCY_DERIVED_WINDOW', 3_600_000, 100),
    gatewayTimeoutMs,
    ...tries,
    gatewayMaxConcurrent: read.integer(
      'GATEWAY_MAX_CONCURRENT',
      DEFAULT_MAX_CONCURRENT_CALLS,
      1,
      MAX_CONCURRENT_CALLS,
    ),
    gatewayKeyNamespace: read.word('GATEWAY_KEY_NAMESPACE', DEFAULT_GATEWAY_KEY_NAMESPACE),
    gateway,
    stripe: gateway === 'stripe' ? readStripe(read, sandbox) : null,
    sandboxGateway: readSandboxGateway(read, sandbox),
    eventsNats: read.nats('EVENTS_NATS_URL'),
    commandsNats: read.nats('COMMANDS_NATS_URL'),
    webhooks: readWebhooks(read),
    rateLimit: read.rateLimit('RATE_LIMIT', sandbox ? null : DEFAULT_RATE_LIMIT),
    corsOrigins: read.origins('CORS_ORIGINS'),
    trustedProxies: read.networks('TRUSTED_PROXIES'),
    logLevel: read.oneOf('LOG_LEVEL', LOG_LEVELS, 'info'),
  };
  if (read.problems.length > 0) throw new ConfigError(read.problems);
  return Object.freeze(config);
}

function readGatewayTimeout(read: EnvironmentReader, leaseMs: number): number {
  const timeoutMs = read.duration(
    'GATEWAY_TIMEOUT',
    Math.min(DEFAULT_GATEWAY_TIMEOUT_MS, Math.floor(leaseMs * GATEWAY_SHARE_OF_LEASE)),
    1,
  );
  if (timeoutMs >= leaseMs) {
    read.problems.push(
      `GATEWAY_TIMEOUT (${ms(timeoutMs)}) must be shorter than IDEMPOTENCY_LEASE (${ms(leaseMs)}): ` +
        'otherwise a retry could take a charge over while its first try still runs',
    );
  }
  return timeoutMs;
}

function readGatewayTries(
  read: EnvironmentReader,
  gateway: GatewayName | null,
  timeoutMs: number,
): Pick<Config, 'gatewayMaxTries' | 'gatewayTryTimeoutMs'> {
  const gatewayMaxTries = read.integer(
    'GATEWAY_TRIES',
    gateway === 'sandbox' ? SANDBOX_GATEWAY_TRIES : DEFAULT_GATEWAY_TRIES,
    1,
    MAX_GATEWAY_TRIES,
  );
  const tryShare = gatewayMaxTries === 1 ? 1 : TRY_SHARE_OF_GATEWAY_TIMEOUT;
  const gatewayTryTimeoutMs = read.duration(
    'GATEWAY_TRY_TIMEOUT',
    Math.max(1, Math.floor(timeoutMs * tryShare)),
    1,
  );
  if (gatewayTryTimeoutMs > timeoutMs) {
    read.problems.push(
      `GATEWAY_TRY_TIMEOUT (${ms(gatewayTryTimeoutMs)}) must not be longer than GATEWAY_TIMEOUT (${ms(timeoutMs)}), ` +
        'which limits all tries together',
    );
  }
  return { gatewayMaxTries, gatewayTryTimeoutMs };
}

function checkSandbox(
  read: EnvironmentReader,
  env: Environment,
  sandbox: boolean,
  databaseUrl: string | null,
): void {
  if (sandbox) return;
  if (databaseUrl === null) {
    read.problems.push(
      'DATABASE_URL is required when SANDBOX is false: the embedded PostgreSQL is for the sandbox',
    );
  }
  if (env['SANDBOX_API_KEY']) {
    read.problems.push('SANDBOX_API_KEY is only for the sandbox: unset it, or set SANDBOX=true');
  }
}

function readGateway(read: EnvironmentReader, sandbox: boolean): GatewayName | null {
  const gateway = read.oneOf('GATEWAY', GATEWAY_NAMES, sandbox ? 'sandbox' : null);
  if (gateway === 'sandbox' && !sandbox) {
    read.problems.push('GATEWAY=sandbox is only for the sandbox: set GATEWAY=stripe, or set SANDBOX=true');
  }
  return gateway;
}

function readStripe(read: EnvironmentReader, sandbox: boolean): StripeConfig {
  const secretKey = read.secret('STRIPE_SECRET_KEY', STRIPE_KEY, "one of Stripe's secret keys, sk_… or rk_…");
  const apiBase = read.httpUrl('STRIPE_API_BASE');
  if (secretKey === null && !read.has('STRIPE_SECRET_KEY')) {
    read.problems.push('STRIPE_SECRET_KEY is required with GATEWAY=stripe');
  }
  if (sandbox && secretKey !== null && STRIPE_LIVE_KEY.test(secretKey)) {
    read.problems.push(
      "STRIPE_SECRET_KEY is a live key, and the sandbox accepts a well-known API key: use one of Stripe's test keys",
    );
  }
  if (apiBase !== null && !isApiBase(new URL(apiBase))) {
    read.problems.push(
      'STRIPE_API_BASE must be scheme, host and port alone, and https unless the host is this machine: it is sent the secret key',
    );
  }
  const webhookSecret = read.secret(
    'STRIPE_WEBHOOK_SECRET',
    STRIPE_WEBHOOK_SECRET,
    'a signing secret, whsec_…',
  );
  return Object.freeze({ secretKey: secretKey ?? '', apiBase, webhookSecret });
}

function readWebhooks(read: EnvironmentReader): WebhooksConfig {
  return Object.freeze({
    tryTimeoutMs: read.duration('WEBHOOK_TIMEOUT', DEFAULT_WEBHOOK_TIMEOUT_MS, 10),
    retryPausesMs: read.durations(
      'WEBHOOK_RETRY_PAUSES',
      DEFAULT_WEBHOOK_PAUSES.map((pause) => ms(pause)),
      MAX_WEBHOOK_PAUSES,
    ),
    disableAfterMs: read.duration('WEBHOOK_DISABLE_AFTER', 5 * DAY_MS, 1_000),
    retentionMs: read.duration('WEBHOOK_RETENTION', 30 * DAY_MS, 1_000),
  });
}

function isApiBase({ protocol, hostname, pathname, search, username }: URL): boolean {
  return (
    pathname === '/' &&
    search === '' &&
    username === '' &&
    (protocol === 'https:' || LOOPBACK_HOST.test(hostname))
  );
}

function readSandboxGateway(read: EnvironmentReader, sandbox: boolean): SandboxGatewayConfig {
  const url = read.httpUrl('SANDBOX_GATEWAY_URL');
  if (url !== null && !sandbox) {
    read.problems.push('SANDBOX_GATEWAY_URL is only for the sandbox: unset it, or set SANDBOX=true');
  }
  const secret = read.secret(
    'SANDBOX_GATEWAY_WEBHOOK_SECRET',
    STANDARD_WEBHOOKS_SECRET,
    'whsec_ and 24 to 64 bytes in base64',
  );
  return Object.freeze({
    url,
    port: read.integer('SANDBOX_GATEWAY_PORT', 3001, 0, 65_535),
    script: read.sandboxScript('SANDBOX_GATEWAY_SCRIPT'),
    notifyUrl: read.httpUrl('SANDBOX_GATEWAY_NOTIFY_URL'),
    webhookSecret: sandbox ? (secret ?? DEFAULT_SANDBOX_WEBHOOK_SECRET) : null,
  });
}
