import { isIP } from 'node:net';
import ms from 'ms';
import type { NatsConfig, RateLimit } from './config.js';
import { parseSandboxScriptText, SandboxScriptError, type SandboxScript } from './sandbox-script.js';

const RATE_WINDOW_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

const NATS_PORT = 4222;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads one variable at a time and collects the problems, so that one start reports all of them. */
export class EnvironmentReader {
  readonly problems: string[] = [];

  constructor(private readonly env: Environment) {}

  text(name: string, fallback: string): string {
    return this.value(name) ?? fallback;
  }

  /** Visible ASCII, without spaces: what looks the same is the same. */
  word(name: string, fallback: string): string {
    const value = this.value(name);
    if (value === undefined) return fallback;
    return /^[\x21-\x7e]{1,255}$/.test(value)
      ? value
      : this.wrong(name, value, '1 to 255 visible ASCII characters', fallback);
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

  /** A number with its unit, such as `500ms`, `60s` or `24h`. The unit is required: `60` could mean any of them. */
  duration(name: string, fallback: number, min: number): number {
    const value = this.value(name);
    if (value === undefined) return fallback;
    const parsed = parseDuration(value);
    if (parsed !== undefined && parsed >= min) return parsed;
    return this.wrong(
      name,
      value,
      `a duration of at least ${ms(min)} with its unit, such as 500ms, 60s or 24h`,
      fallback,
    );
  }

  /** Durations with their units, separated by commas. */
  durations(name: string, fallback: readonly number[], max: number): readonly number[] {
    const items = this.list(name);
    if (items.length === 0) return fallback;
    const parsed = items.map(parseDuration).filter((item) => item !== undefined);
    if (parsed.length === items.length && items.length <= max) return parsed;
    return this.wrong(
      name,
      items.join(','),
      `at most ${max} durations with their units, separated by commas, such as 5s,5m,2h`,
      fallback,
    );
  }

  /** A number of requests per second, minute or hour, such as `1000/s`, or `off`. */
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

  /** Origins as browsers send them: scheme, host and port, with nothing after. */
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

  oneOf<T extends string, Fallback extends T | null>(
    name: string,
    allowed: readonly T[],
    fallback: Fallback,
  ): T | Fallback {
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

  /** The servers of one NATS system, separated by commas. The first URL holds the credentials. */
  nats(name: string): NatsConfig | null {
    const texts = this.list(name);
    if (texts.length === 0) return null;
    const urls = texts.filter((text) => isNatsUrl(text)).map((text) => new URL(text));
    const [first] = urls;
    if (first === undefined || urls.length < texts.length) {
      // A URL may hold a password, so it is not echoed.
      this.problems.push(
        `${name} must be a URL such as nats://user:password@host:4222 or tls://host:4222, or several separated by commas`,
      );
      return null;
    }
    const user = decodeURIComponent(first.username) || null;
    const password = decodeURIComponent(first.password) || null;
    return Object.freeze({
      servers: urls.map(({ hostname, port }) => `${hostname}:${port || NATS_PORT}`),
      // A name without a password is a token, as in NATS's own clients.
      user: password === null ? null : user,
      password,
      token: password === null ? user : null,
      tls: urls.some(({ protocol }) => protocol === 'tls:'),
    });
  }

  apiKey(name: string, fallback: string): string {
    const value = this.value(name);
    if (value === undefined) return fallback;
    // The value is a credential, so it is not echoed.
    if (/^[\x21-\x7e]{8,255}$/.test(value)) return value;
    this.problems.push(`${name} must be 8 to 255 visible ASCII characters`);
    return fallback;
  }

  sandboxScript(name: string): SandboxScript | null {
    const value = this.value(name);
    if (value === undefined) return null;
    try {
      return parseSandboxScriptText(value);
    } catch (error) {
      if (!(error instanceof SandboxScriptError)) throw error;
      this.problems.push(...error.problems.map((problem) => `${name}: ${problem}`));
      return null;
    }
  }

  /** A credential, so it is not echoed. */
  secret(name: string, pattern: RegExp, expected: string): string | null {
    const value = this.value(name);
    if (value === undefined) return null;
    if (pattern.test(value)) return value;
    this.problems.push(`${name} must be ${expected}`);
    return null;
  }

  has(name: string): boolean {
    return this.value(name) !== undefined;
  }

  private url(name: string, protocols: readonly string[], expected: string): string | null {
    const value = this.value(name);
    if (value === undefined) return null;
    if (URL.canParse(value) && protocols.includes(new URL(value).protocol)) return value;
    // A URL may hold a password, so it is not echoed.
    this.problems.push(`${name} must be ${expected}`);
    return null;
  }

  private list(name: string): string[] {
    const items = (this.value(name) ?? '').split(',').map((item) => item.trim());
    return items.filter((item) => item !== '');
  }

  /** An empty variable counts as unset, because compose files and CI systems set empty ones. */
  private value(name: string): string | undefined {
    return this.env[name]?.trim() || undefined;
  }

  private wrong<T>(name: string, value: string, expected: string, fallback: T): T {
    this.problems.push(`${name} must be ${expected}, not ${JSON.stringify(value)}`);
    return fallback;
  }
}

function isNatsUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, pathname, search, username, password } = new URL(text);
  try {
    decodeURIComponent(username + password);
  } catch {
    return false;
  }
  return /^(nats|tls):$/.test(protocol) && hostname !== '' && /^\/?$/.test(pathname) && search === '';
}

function parseDuration(value: string): number | undefined {
  const parsed = /^\d+(\.\d+)? ?[a-z]+$/i.test(value) ? ms(value as ms.StringValue) : undefined;
  return parsed !== undefined && Number.isFinite(parsed) ? Math.round(parsed) : undefined;
}

/** An IP address, or a network in CIDR notation. */
function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

/** Exactly what a browser would send, or `*`. */
function isOrigin(text: string): boolean {
  if (text === '*') return true;
  return /^https?:/.test(text) && URL.canParse(text) && new URL(text).origin === text;
}
