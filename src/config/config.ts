import { resolve } from 'node:path';
import ms from 'ms';
import { EnvironmentReader, type Environment } from './environment-reader.js';
import type { SandboxScript } from './sandbox-script.js';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const MISSING_KEY_POLICIES = ['reject', 'derive'] as const;
export type MissingKeyPolicy = (typeof MISSING_KEY_POLICIES)[number];

export const GATEWAY_NAMES = ['sandbox', 'stripe'] as const;
export type GatewayName = (typeof GATEWAY_NAMES)[number];

/** The whole configuration, validated and frozen. Durations are milliseconds. */
export interface Config {
  readonly port: number;
  readonly host: string;
  /** Base of the absolute URLs that answers carry; null means the address that the service listens on. */
  readonly publicUrl: string | null;
  /** null means the embedded PostgreSQL under `dataDir`. */
  readonly databaseUrl: string | null;
  readonly databasePoolSize: number;
  readonly sandbox: boolean;
  /** Accepted in the sandbox and nowhere else; null outside it. */
  readonly sandboxApiKey: string | null;
  readonly dataDir: string;
  readonly idempotencyLeaseMs: number;
  readonly idempotencyRetentionMs: number;
  /** What a keyed request without a key gets: a refusal, or a key that is derived from what it asks for. */
  readonly idempotencyMissingKey: MissingKeyPolicy;
  /** How long after the first of several identical requests without a key the others count as its retries. */
  readonly idempotencyDerivedWindowMs: number;
  /** Deadline of one gateway call, always shorter than the lease (rule 8 of the design). */
  readonly gatewayTimeoutMs: number;
  /** Time limit of one try of a gateway call, within its deadline. */
  readonly gatewayTryTimeoutMs: number;
  /** How often a gateway call is tried before it is given up, the first try included. */
  readonly gatewayMaxTries: number;
  /** How many calls one gateway may have in flight from this process; some more wait, and the rest is refused. */
  readonly gatewayMaxConcurrent: number;
  /** Which gateway moves the money; null for none, which refuses every charge. */
  readonly gateway: GatewayName | null;
  /** Set exactly when the gateway is `stripe`. */
  readonly stripe: StripeConfig | null;
  readonly sandboxGateway: SandboxGatewayConfig;
  /** The broker that committed events are published to; null for none. */
  readonly eventsNats: NatsConfig | null;
  /** The broker whose commands are carried out; null for none. */
  readonly commandsNats: NatsConfig | null;
  readonly webhooks: WebhooksConfig;
  /** Of one API key, in one process; null for none. */
  readonly rateLimit: RateLimit | null;
  /** The web pages that may call the API from a browser; empty for none, and `*` for all. */
  readonly corsOrigins: readonly string[];
  /** Addresses and networks whose `X-Forwarded-For` is believed; empty for none. */
  readonly trustedProxies: readonly string[];
  readonly logLevel: LogLevel;
}

export interface StripeConfig {
  readonly secretKey: string;
  /** Where Stripe's API is; null means its own address. */
  readonly apiBase: string | null;
  /** Checks the signatures of incoming notifications; null takes none in. */
  readonly webhookSecret: string | null;
}

/** The sandbox provider: as the service reaches it, and as it is served. */
export interface SandboxGatewayConfig {
  /** Where its own process listens; null means that it runs in the service's process. */
  readonly url: string | null;
  /** Where it is served by HTTP on this machine. */
  readonly port: number;
  /** What it plays from its start; null for none. */
  readonly script: SandboxScript | null;
  /** Where its notifications go; null leaves that to the service that it runs in. */
  readonly notifyUrl: string | null;
  /** Signs and checks its notifications; null outside the sandbox. */
  readonly webhookSecret: string | null;
}

/** One NATS system, and how to be let in. */
export interface NatsConfig {
  /** `host:port`, any of which may be connected to. */
  readonly servers: readonly string[];
  readonly user: string | null;
  readonly password: string | null;
  readonly token: string | null;
  readonly tls: boolean;
}

/** How events are sent to merchants' endpoints. */
export interface WebhooksConfig {
  /** Of one try: finding the host, connecting, and the answer. */
  readonly tryTimeoutMs: number;
  /** Between the tries of one delivery, in order; there is one try more than pauses. */
  readonly retryPausesMs: readonly number[];
  /** An endpoint where every try has failed for so long is disabled. */
  readonly disableAfterMs: number;
  /** How long deliveries and the log of their tries are kept. */
  readonly retentionMs: number;
}

export interface RateLimit {
  readonly requests: number;
  readonly windowSeconds: number;
}

/** Injection token: `Config` is an interface, and a frozen plain object is all that anybody needs. */
export const CONFIG = Symbol('Config');

/** Every wrong value at once, one line each, ready to show to whoever started the service. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(readonly problems: readonly string[]) {
    super(`The configuration is wrong:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

const MIN_LEASE_MS = 500;
const DEFAULT_LEASE_MS = 60_000;
const DEFAULT_GATEWAY_TIMEOUT_MS = 30_000;
/** The part of a lease that a gateway call may use; what is left is for settling. */
const GATEWAY_SHARE_OF_LEASE = 0.8;
/** A try that is given up early leaves time for another one, which asks for the outcome under the same key. */
const TRY_SHARE_OF_GATEWAY_TIMEOUT = 2 / 3;
const MAX_GATEWAY_TRIES = 10;
const DEFAULT_GATEWAY_TRIES = 3;
/** In the sandbox each disaster is to reach whoever rehearses it, rather than be retried away. */
const SANDBOX_GATEWAY_TRIES = 1;
const DEFAULT_MAX_CONCURRENT_CALLS = 256;
const MAX_CONCURRENT_CALLS = 10_000;
/** A secret key, or one that is restricted to some calls. Never a publishable one (`pk_`). */
const STRIPE_KEY = /^[sr]k_[\x21-\x7e]{8,250}$/;
const STRIPE_LIVE_KEY = /^[sr]k_live_/;
const STRIPE_WEBHOOK_SECRET = /^whsec_[\x21-\x7e]{8,250}$/;
const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
/** Far more than a shop needs, and far less than what one client can do to all others. */
const DEFAULT_RATE_LIMIT: RateLimit = { requests: 1_000, windowSeconds: 1 };
const DEFAULT_SANDBOX_API_KEY = 'sk_sandbox_hapax';
/** As public as the sandbox's API key, and accepted in the sandbox alone. */
const DEFAULT_SANDBOX_WEBHOOK_SECRET = `whsec_${Buffer.from('hapax-sandbox-gateway-not-secret').toString('base64')}`;
/** Standard Webhooks: 24 to 64 bytes in base64. */
const STANDARD_WEBHOOKS_SECRET = /^whsec_[A-Za-z0-9+/]{32,86}={0,2}$/;

const DAY_MS = 24 * 3_600_000;
const DEFAULT_WEBHOOK_TIMEOUT_MS = 15_000;
/** As Standard Webhooks has it: over three days. */
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
  const gatewayTimeoutMs = read.duration(
    'GATEWAY_TIMEOUT',
    Math.min(DEFAULT_GATEWAY_TIMEOUT_MS, Math.floor(idempotencyLeaseMs * GATEWAY_SHARE_OF_LEASE)),
    1,
  );
  if (gatewayTimeoutMs >= idempotencyLeaseMs) {
    read.problems.push(
      `GATEWAY_TIMEOUT (${ms(gatewayTimeoutMs)}) must be shorter than IDEMPOTENCY_LEASE (${ms(idempotencyLeaseMs)}): ` +
        'otherwise a retry could take a charge over while its first try still runs',
    );
  }
  const gateway = readGateway(read, sandbox);
  const gatewayMaxTries = read.integer(
    'GATEWAY_TRIES',
    gateway === 'sandbox' ? SANDBOX_GATEWAY_TRIES : DEFAULT_GATEWAY_TRIES,
    1,
    MAX_GATEWAY_TRIES,
  );
  const tryShare = gatewayMaxTries === 1 ? 1 : TRY_SHARE_OF_GATEWAY_TIMEOUT;
  const gatewayTryTimeoutMs = read.duration(
    'GATEWAY_TRY_TIMEOUT',
    Math.max(1, Math.floor(gatewayTimeoutMs * tryShare)),
    1,
  );
  if (gatewayTryTimeoutMs > gatewayTimeoutMs) {
    read.problems.push(
      `GATEWAY_TRY_TIMEOUT (${ms(gatewayTryTimeoutMs)}) must not be longer than GATEWAY_TIMEOUT (${ms(gatewayTimeoutMs)}), ` +
        'which limits all tries together',
    );
  }
  if (!sandbox && databaseUrl === null) {
    read.problems.push(
      'DATABASE_URL is required when SANDBOX is false: the embedded PostgreSQL is for the sandbox',
    );
  }
  if (!sandbox && env['SANDBOX_API_KEY']) {
    read.problems.push('SANDBOX_API_KEY is only for the sandbox: unset it, or set SANDBOX=true');
  }
  const config: Config = {
    port: read.integer('PORT', 3000, 0, 65_535),
    host: read.text('HOST', sandbox ? '127.0.0.1' : '0.0.0.0'),
    publicUrl: read.httpUrl('PUBLIC_URL'),
    databaseUrl,
    databasePoolSize: read.integer('DATABASE_POOL_SIZE', 10, 3, 200),
    sandbox,
    sandboxApiKey: sandbox ? read.apiKey('SANDBOX_API_KEY', DEFAULT_SANDBOX_API_KEY) : null,
    dataDir: resolve(read.text('DATA_DIR', '.data')),
    idempotencyLeaseMs,
    idempotencyRetentionMs: read.duration('IDEMPOTENCY_RETENTION', 24 * 3_600_000, 1_000),
    idempotencyMissingKey: read.oneOf('IDEMPOTENCY_MISSING_KEY', MISSING_KEY_POLICIES, 'reject'),
    idempotencyDerivedWindowMs: read.duration('IDEMPOTENCY_DERIVED_WINDOW', 3_600_000, 100),
    gatewayTimeoutMs,
    gatewayTryTimeoutMs,
    gatewayMaxTries,
    gatewayMaxConcurrent: read.integer(
      'GATEWAY_MAX_CONCURRENT',
      DEFAULT_MAX_CONCURRENT_CALLS,
      1,
      MAX_CONCURRENT_CALLS,
    ),
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
