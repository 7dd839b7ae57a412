import { API_KEY, newKey, type Reply } from './client.js';

interface Target {
  baseUrl: string;
}

interface PostOptions {
  /** By default a new key. Null sends none. */
  key?: string | null;
  /** Omit it for a request without a body. */
  body?: object;
  headers?: Record<string, string>;
  apiKey?: string;
}

/** Sends a keyed request once. */
export async function post(
  { baseUrl }: Target,
  path: string,
  { key = newKey(), body, headers = {}, apiKey = API_KEY }: PostOptions = {},
): Promise<Reply> {
  const response = await fetch(baseUrl + path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(key !== null && { 'idempotency-key': key }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body === undefined ? null : JSON.stringify(body),
  });
  return readReply(response);
}

export async function get({ baseUrl }: Target, path: string, apiKey = API_KEY): Promise<Reply> {
  return readReply(await fetch(baseUrl + path, { headers: { authorization: `Bearer ${apiKey}` } }));
}

/** Makes a payment, whose state depends on `body`, and returns its id. */
export async function newPayment(target: Target, body: object): Promise<string> {
  const reply = await post(target, '/v1/payments', { body });
  return String(reply.json['transaction_id']);
}

export const MANUAL = {
  amount: 1000,
  currency: 'EUR',
  payment_method: 'pm_card_visa',
  capture_method: 'manual',
};
export const AUTOMATIC = { ...MANUAL, capture_method: 'automatic' };

async function readReply(response: Response): Promise<Reply> {
  const body = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body,
    json: JSON.parse(body) as Record<string, unknown>,
  };
}
