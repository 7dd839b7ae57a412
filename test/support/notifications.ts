import { randomUUID } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { loadConfig } from '../../src/config/load-config.js';

/** The secret that the sandbox's provider signs with by default. */
export const SANDBOX_SECRET = loadConfig({}).sandboxGateway.webhookSecret ?? '';
const PATH = '/v1/gateways/sandbox/notifications';

interface SentNotification {
  status: number;
  headers: Headers;
  code: unknown;
}

export interface Notification {
  /** The provider's event id, the same for every copy. */
  id: string;
  body: string;
}

/** A notification as the sandbox's provider sends it. */
export function notification(data: object, type = 'charge.completed'): Notification {
  const id = `evt_test_${randomUUID()}`;
  return { id, body: JSON.stringify({ id, type, timestamp: new Date().toISOString(), data }) };
}

/** The headers of a notification, signed for the given time with the given secret. */
export function signed(
  { id, body }: Notification,
  { secret = SANDBOX_SECRET, at = new Date() }: { secret?: string; at?: Date } = {},
): Record<string, string> {
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(at.getTime() / 1_000)),
    'webhook-signature': new Webhook(secret).sign(id, at, body),
  };
}

/** Sends a notification once, by default as the provider does. */
export async function sendNotification(
  baseUrl: string,
  told: Notification,
  headers: Record<string, string> = signed(told),
  path = PATH,
): Promise<SentNotification> {
  const response = await fetch(baseUrl + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: told.body,
  });
  const text = await response.text();
  const code = text === '' ? undefined : (JSON.parse(text) as { code: unknown }).code;
  return { status: response.status, headers: response.headers, code };
}

/** The service's own count of notifications, by result. */
export async function countNotifications(
  baseUrl: string,
  gateway = 'sandbox',
): Promise<Record<string, number>> {
  const text = await (await fetch(`${baseUrl}/metrics`)).text();
  const lines = text.matchAll(
    /^hapax_gateway_notifications_total\{gateway="(\w+)",result="(\w+)"\} (\d+)$/gm,
  );
  return Object.fromEntries(
    [...lines].filter(([, name]) => name === gateway).map(([, , result, count]) => [result, Number(count)]),
  );
}
