import { isIP } from 'node:net';
import { resolve } from 'node:path';
import ms from 'ms';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const MISSING_KEY_POLICIES = ['reject', 'derive'] as const;
export type MissingKeyPolicy = (typeof MISSING_KEY_POLICIES)[number];

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
  /** Of one API key, in one process; null for none. */
  readonly rateLimit: RateLimit | null;
  /** The web pages that may call the API from a browser; empty for none, and `*` for all. */
  readonly corsOrigins: readonly string[];
  /** Addresses and networks whose `X-Forwarded-For` is believed; empty for none. */
  readonly trustedProxies: readonly string[];
  readonly logLevel: LogLevel;
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
/** Far more than a shop needs, and far less than what one client can do to all others. */
const DEFAULT_RATE_LIMIT: RateLimit = { requests: 1_000, windowSeconds: 1 };
const RATE_WINDOW_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };
const DEFAULT_SANDBOX_API_KEY = 'sk_sandbox_hapax';

type Environment = Readonly<Record<string, string | undefined>>;

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
    rateLimit: read.rateLimit('RATE_LIMIT', sandbox ? null : DEFAULT_RATE_LIMIT),
    corsOrigins: read.origins('CORS_ORIGINS'),
    trustedProxies: read.networks('TRUSTED_PROXIES'),
    logLevel: read.oneOf('LOG_LEVEL', LOG_LEVELS, 'info'),
  };
  if (read.problems.length > 0) throw new ConfigError(read.problems);
  return Object.freeze(config);
}

/** Reads one variable at a time and collects what is wrong, so that one start tells all of it. */
class EnvironmentReader {
  readonly problems: string[] = [];

  constructor(private readonly env: Environment) {}

  text(name: string, fallback: string): string {
    return this.value(name) ?? fallback;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.value(name);
    if (value === undefined) return fallback;
    const parsed = Number(value);
    if (/^\d+$/.test(value) && parsed >= min && parsed <= max) return parsed;
    return this.wrong(name, value, `a whole number from ${min} to ${max}`, fallback);
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.value(name);
    if (value === undefined) return fallback;
    if (value === 'true' || value === 'false') return value === 'true';
    return this.wrong(name, value, 'true or false', fallback);
  }

  /** A number with its unit, such as `500ms`, `60s` or `24h`; the unit is required, since `60` could be either. */
  duration(name: string, fallback: number, min: number): number {
    const value = this.value(name);
    if (value === undefined) return fallback;
    const parsed = /^\d+(\.\d+)? ?[a-z]+$/i.test(value) ? ms(value as ms.StringValue) : undefined;
    if (parsed !== undefined && Number.isFinite(parsed) && parsed >= min) return Math.round(parsed);
    return this.wrong(
      name,
      value,
      `a duration of at least ${ms(min)} with its unit, such as 500ms, 60s or 24h`,
      fallback,
    );
  }

  /** A number of requests and their time, such as `1000/s`, or `off`. */
  rateLimit(name: string, fallback: RateLimit | null): RateLimit | null {
    const value = this.value(name);
    if (value === undefined) return fallback;
    if (value === 'off') return null;
    const [, count, unit = ''] = /^([1-9]\d{0,8})\/([smh])$/.exec(value) ?? [];
    const windowSeconds = RATE_WINDOW_SECONDS[unit];
    if (windowSeconds !== undefined) return { requests: Number(count), windowSeconds };
    return this.wrong(
      name,
      value,
      'a number of requests a second, minute or hour, such as 1000/s, 600/m or 5000/h, or off',
      fallback,
    );
  }

  /** What browsers send as `Origin`: scheme, host and port, and nothing after them. */
  origins(name: string): string[] {
    const origins = this.list(name);
    const wrong = origins.find((origin) => !isOrigin(origin));
    if (wrong === undefined) return origins;
    return this.wrong(
      name,
      wrong,
      'a list of origins such as https://shop.example.com, separated by commas, without a path; or *',
      [],
    );
  }

  networks(name: string): string[] {
    const networks = this.list(name);
    const wrong = networks.find((network) => !isNetwork(network));
    if (wrong === undefined) return networks;
    return this.wrong(
      name,
      wrong,
      'a list of addresses and networks such as 10.0.0.0/8, separated by commas',
      [],
    );
  }

  oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.value(name);
    if (value === undefined) return fallback;
    const found = allowed.find((candidate) => candidate === value);
    return found ?? this.wrong(name, value, `one of ${allowed.join(', ')}`, fallback);
  }

  postgresUrl(name: string): string | null {
    return this.url(
      name,
      ['postgres:', 'postgresql:'],
      'a URL such as postgres://user:password@host:5432/database',
    );
  }

  httpUrl(name: string): string | null {
    return (
      this.url(name, ['http:', 'https:'], 'a URL such as https://payments.example.com')?.replace(
        /\/+$/,
        '',
      ) ?? null
    );
  }

  apiKey(name: string, fallback: string): string {
    const value = this.value(name);
    if (value === undefined) return fallback;
    // The value is a credential: it is not echoed.
    if (/^[\x21-\x7e]{8,255}$/.test(value)) return value;
    this.problems.push(`${name} must be 8 to 255 visible ASCII characters`);
    return fallback;
  }

  private url(name: string, protocols: readonly string[], expected: string): string | null {
    const value = this.value(name);
    if (value === undefined) return null;
    if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return value;
    // A URL may hold a password: it is not echoed.
    this.problems.push(`${name} must be ${expected}`);
    return null;
  }

  private list(name: string): string[] {
    const items = (this.value(name) ?? '').split(',').map((item) => item.trim());
    return items.filter((item) => item !== '');
  }

  /** An empty variable counts as unset, as compose files and CI systems write it. */
  private value(name: string): string | undefined {
    return this.env[name]?.trim() || undefined;
  }

  private wrong<T>(name: string, value: string, expected: string, fallback: T): T {
    this.problems.push(`${name} must be ${expected}, not ${JSON.stringify(value)}`);
    return fallback;
  }
}

/** An IP address, or a network in CIDR notation. */
function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

/** What a browser would send, to the letter; or everything. */
function isOrigin(text: string): boolean {
  if (text === '*') return true;
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}
