import type { SandboxScript } from './sandbox-script.js';

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
type LogLevel = (typeof LOG_LEVELS)[number];

export const MISSING_KEY_POLICIES = ['reject', 'derive'] as const;
type MissingKeyPolicy = (typeof MISSING_KEY_POLICIES)[number];

export const GATEWAY_NAMES = ['sandbox', 'stripe'] as const;
export type GatewayName = (typeof GATEWAY_NAMES)[number];

/** The whole configuration, validated and frozen. Durations are milliseconds. */
export interface Config {
  readonly port: number;
  readonly host: string;
  /** Base of the absolute URLs in answers; null means the address that the service listens on. */
  readonly publicUrl: string | null;
  /** null means the embedded PostgreSQL under `dataDir`. */
  readonly databaseUrl: string | null;
  readonly databasePoolSize: number;
  /** Outside the sandbox: whether the database may be one that can lose what it has committed. */
  readonly allowUnsafeDatabase: boolean;
  readonly sandbox: boolean;
  /** Accepted only in the sandbox; null outside it. */
  readonly sandboxApiKey: string | null;
  readonly dataDir: string;
  readonly idempotencyLeaseMs: number;
  readonly idempotencyRetentionMs: number;
  /** What happens to a keyed request without a key: it is refused, or given a key derived from its contents. */
  readonly idempotencyMissingKey: MissingKeyPolicy;
  /** Identical requests without a key count as retries of the first one for this long after it. */
  readonly idempotencyDerivedWindowMs: number;
  /**
   * Limit of one gateway call, all its tries together. Shorter than the lease: otherwise a retry could take the claim
   * over while the call is still running. A call that begins late in its lease gets less.
   */
  readonly gatewayTimeoutMs: number;
  /** Limit of one try of a gateway call, at most `gatewayTimeoutMs`. */
  readonly gatewayTryTimeoutMs: number;
  /** The most tries of a gateway call, including the first. */
  readonly gatewayMaxTries: number;
  /** The most calls to one gateway in flight from this process. Some more wait; the rest are refused. */
  readonly gatewayMaxConcurrent: number;
  /** The deployment's name in the gateway keys that it derives. A copy for testing has another. */
  readonly gatewayKeyNamespace: string;
  /** The gateway that moves the money; null for none, and then every charge is refused. */
  readonly gateway: GatewayName | null;
  /** Set exactly when the gateway is `stripe`. */
  readonly stripe: StripeConfig | null;
  readonly sandboxGateway: SandboxGatewayConfig;
  /** The broker that we publish committed events to; null for none. */
  readonly eventsNats: NatsConfig | null;
  /** The broker that we take commands from; null for none. */
  readonly commandsNats: NatsConfig | null;
  readonly webhooks: WebhooksConfig;
  /** The limit for one API key in one process; null for none. */
  readonly rateLimit: RateLimit | null;
  /** Origins of web pages that may call the API from a browser; empty for none, `*` for all. */
  readonly corsOrigins: readonly string[];
  /** Addresses and networks whose `X-Forwarded-For` we believe; empty for none. */
  readonly trustedProxies: readonly string[];
  readonly logLevel: LogLevel;
}

export interface StripeConfig {
  readonly secretKey: string;
  /** Base URL of Stripe's API; null means Stripe's own. */
  readonly apiBase: string | null;
  /** Checks the signatures of incoming notifications; null accepts none. */
  readonly webhookSecret: string | null;
}

/** The sandbox provider: how the service reaches it, and how it is served. */
export interface SandboxGatewayConfig {
  /** URL of its own process; null means it runs in the service's process. */
  readonly url: string | null;
  /** The port that serves it over HTTP on this machine. */
  readonly port: number;
  /** The script it plays from its start; null for none. */
  readonly script: SandboxScript | null;
  /** Where it sends notifications; null means to the service that it runs in. */
  readonly notifyUrl: string | null;
  /** Signs and checks its notifications; null outside the sandbox. */
  readonly webhookSecret: string | null;
}

/** One NATS system, and the credentials for it. */
export interface NatsConfig {
  /** Each is `host:port`. We connect to any one of them. */
  readonly servers: readonly string[];
  readonly user: string | null;
  readonly password: string | null;
  readonly token: string | null;
  readonly tls: boolean;
}

/** How events are sent to merchants' endpoints. */
export interface WebhooksConfig {
  /** Limit of one try: resolving the host, connecting, and getting the answer. */
  readonly tryTimeoutMs: number;
  /** Pauses between the tries of one delivery, in order. There is one more try than pauses. */
  readonly retryPausesMs: readonly number[];
  /** An endpoint is disabled after every try has failed for this long. */
  readonly disableAfterMs: number;
  /** How long we keep deliveries and the log of their tries. */
  readonly retentionMs: number;
}

export interface RateLimit {
  readonly requests: number;
  readonly windowSeconds: number;
}

/** Injection token. `Config` is an interface, because a frozen plain object is all that we need. */
export const CONFIG = Symbol('Config');
