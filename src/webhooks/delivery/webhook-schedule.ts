import type { WebhooksConfig } from '../../config/config.js';

/** How an endpoint answered; no status when it did not. */
export interface TryResult {
  responseStatus: number | null;
  /** The first of the answer's body; null when there was no answer. */
  responseBody: string | null;
  /** Why there was no answer; null when there was. */
  error: string | null;
  /** How long it asks to be left alone, of a 429 or 503; null when it does not say. */
  retryAfterMs: number | null;
}

/** What follows for the delivery, and for its endpoint. */
export type Verdict =
  | { kind: 'delivered' }
  | { kind: 'retry'; delayMs: number; pauseMs: number | null }
  | { kind: 'failed'; pauseMs: number | null }
  | { kind: 'gone' };

/** Retries that were all due at one time go apart: each pause is longer by up to this part of it. */
const JITTER = 0.1;
/** An endpoint that names a longer time is asked all the same after this one. */
const MAX_RETRY_AFTER_MS = 24 * 3_600_000;

/** An endpoint that has not answered well for so long gets one try at a time, until one succeeds. */
export const FAILING_AFTER_MS = 60_000;
const MIN_WAIT_MS = 30_000;
const MAX_WAIT_MS = 3_600_000;
/** What waits for a failing endpoint waits for this part of the time that it has failed already. */
const WAIT_SHARE = 0.25;
const WAIT_SPREAD = 0.5;

/**
 * Only a 2xx is a delivery. 410 says that nobody is there any more (Standard Webhooks). A 3xx is not followed, so it
 * is a failure like any other.
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

/** How long a delivery waits while its endpoint fails and another one is tried there. */
export function waitOfOthers(failingForMs: number, random: () => number = Math.random): number {
  const waitMs = Math.min(Math.max(failingForMs * WAIT_SHARE, MIN_WAIT_MS), MAX_WAIT_MS);
  return waitMs * (1 + WAIT_SPREAD * random());
}

/** `Retry-After` of RFC 9110 section 10.2.3: seconds, or a date. Null for what is neither, and for what is past. */
export function readRetryAfter(header: string | undefined, now: Date): number | null {
  if (header === undefined) return null;
  const ms = /^\d{1,10}$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - now.getTime();
  return ms > 0 ? ms : null;
}
