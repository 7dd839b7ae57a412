import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceProcess } from './service-process.js';

export const API_KEY = 'sk_sandbox_hapax';

export const AMOUNT = 1999;

/** A body that the sandbox gateway approves immediately. */
export function chargeBody(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return { amount: AMOUNT, currency: 'EUR', payment_method: 'pm_card_visa', ...changes };
}

export const SLOW = chargeBody({ payment_method: 'pm_gateway_slow' });

export interface Reply {
  status: number;
  headers: Headers;
  /** Every byte, for comparison. */
  body: string;
  json: Record<string, unknown>;
}

/** A key that no other test uses. */
export function newKey(name = 'key'): string {
  return `${name}-${randomUUID()}`;
}

interface RequestOptions {
  body?: Record<string, unknown>;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** Sends one charge, once. Errors are the caller's. */
export async function charge(
  service: Pick<ServiceProcess, 'baseUrl'>,
  key: string,
  { body = chargeBody(), headers = {}, signal }: RequestOptions = {},
): Promise<Reply> {
  const response = await fetch(`${service.baseUrl}/v1/payments`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${API_KEY}`,
      'idempotency-key': key,
      'content-type': 'application/json',
      ...headers,
    },
    body: JSON.stringify(body),
    signal: signal ?? null,
  });
  const text = Buffer.from(await response.arrayBuffer()).toString('utf8');
  return {
    status: response.status,
    headers: response.headers,
    body: text,
    json: JSON.parse(text) as Record<string, unknown>,
  };
}

/** Asks to wait for a first answer that is still in progress. */
export const WAIT = { prefer: 'wait=10' };

const MAX_TRIES = 60;
const RETRY_MS = 250;

/** Does what a good client does: repeats the request for as long as the answer says to retry with the same key. */
export async function chargeUntilFinal(
  service: Pick<ServiceProcess, 'baseUrl'>,
  key: string,
  options: RequestOptions = {},
): Promise<Reply> {
  for (let tries = 1; ; tries += 1) {
    const reply = await charge(service, key, { ...options, headers: { ...WAIT, ...options.headers } });
    if (reply.status !== 202 && reply.json['retry'] !== 'same_key') return reply;
    if (tries === MAX_TRIES)
      throw new Error(`no final answer after ${tries} tries: ${reply.status} ${reply.body}`);
    await sleep(RETRY_MS);
  }
}

export function isReplay(reply: Reply): boolean {
  return reply.headers.get('idempotent-replayed') === 'true';
}
