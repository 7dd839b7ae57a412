import type { WebhooksConfig } from '../../config/config.js';

/** How an endpoint answered; the status is null when it did not. */
export interface TryResult {
  responseStatus: number | null;
  /** The beginning of the body; null when there was no answer. */
  responseBody: string | null;
  /** Why there was no answer; null when there was. */
  error: string | null;
  /** The `Retry-After` of a 429 or 503; null when there is none. */
  retryAfterMs: number | null;
}

/** What a try means for the delivery and for its endpoint. */
export type Verdict =
  | { kind: 'delivered' }
  | { kind: 'retry'; delayMs: number; pauseMs: number | null }
  | { kind: 'failed'; pauseMs: number | null }
  | { kind: 'gone' };

/** Each pause grows by up to this share of itself, so that retries due at the same time spread out. */
const JITTER = 0.1;
/** We try again after this long, even if the endpoint asked for more. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000;

/** An endpoint that has failed for this long gets one try at a time until one succeeds. */
export const FAILING_AFTER_MS = 60_000;
const MIN_WAIT_MS = 30_000;
const MAX_WAIT_MS = 3_600_000;
/** Deliveries to a failing endpoint wait for this share of the time that it has been failing. */
const WAIT_SHARE = 0.25;
const WAIT_SPREAD = 0.5;

/**
 * Only a 2xx counts as delivered. A 410 says that the endpoint is gone for good (Standard Webhooks). We do not follow a
 * 3xx, so it is a failure like any other.
 */
export function judge(
  { responseStatus, retryAfterMs }: TryResult,
  pause: number,
  { retryPausesMs }: Pick<WebhooksConfig, 'retryPausesMs'>,
  random: () => number = Math.random,
): Verdict {
  if (responseStatus !== null && responseStatus >= 200 && responseStatus < 300) return { kind: 'delivered' };
  if (responseStatus === 410) return { kind: 'gone' };
  const pauseMs = retryAfterMs === null ? null : Math.min(retryAfterMs, MAX_RETRY_AFTER_MS);
  const nextPauseMs = retryPausesMs[pause];
  if (nextPauseMs === undefined) return { kind: 'failed', pauseMs };
  return { kind: 'retry', delayMs: jittered(Math.max(nextPauseMs, pauseMs ?? 0), random), pauseMs };
}

export function jittered(delayMs: number, random: () => number = Math.random): number {
  return delayMs * (1 + JITTER * random());
}

/** How long a delivery waits while its endpoint is failing and another delivery is being tried there. */
export function waitOfOthers(failingForMs: number, random: () => number = Math.random): number {
  const waitMs = Math.min(Math.max(failingForMs * WAIT_SHARE, MIN_WAIT_MS), MAX_WAIT_MS);
  return waitMs * (1 + WAIT_SPREAD * random());
}

/** Reads `Retry-After` (RFC 9110 section 10.2.3): seconds or a date. Null for anything else, and for a past date. */
export function readRetryAfter(header: string | undefined, now: Date): number | null {
  if (header === undefined) return null;
  const ms = /^\d{1,10}$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - now.getTime();
  return ms > 0 ? ms : null;
}
