import { resolve } from 'node:path';
import ms from 'ms';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

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
  /** Deadline of one gateway call, always shorter than the lease (rule 8 of the design). */
  readonly gatewayTimeoutMs: number;
  readonly logLevel: LogLevel;
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
    gatewayTimeoutMs,
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

  /** An empty variable counts as unset, as compose files and CI systems write it. */
  private value(name: string): string | undefined {
    return this.env[name]?.trim() || undefined;
  }

  private wrong<T>(name: string, value: string, expected: string, fallback: T): T {
    this.problems.push(`${name} must be ${expected}, not ${JSON.stringify(value)}`);
    return fallback;
  }
}
