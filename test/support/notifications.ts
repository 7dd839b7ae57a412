import { randomUUID } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { loadConfig } from '../../src/config/load-config.js';

/** What the sandbox's provider signs with, unless it is told otherwise. */
export const SANDBOX_SECRET = loadConfig({}).sandboxGateway.webhookSecret ?? '';
const PATH = '/v1/gateways/sandbox/notifications';

interface SentNotification {
  status: number;
  headers: Headers;
  code: unknown;
}

export interface Notification {
  /** The provider's event id: the same for each copy. */
  id: string;
  body: string;
}

/** An event as the sandbox's provider tells of it. */
export function notification(data: object, type = 'charge.completed'): Notification {
  const id = `evt_test_${randomUUID()}`;
  return { id, body: JSON.stringify({ id, type, timestamp: new Date().toISOString(), data }) };
}

/** The headers with which a notification is sent, signed for this time and with this secret. */
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

/** Sent once, as the provider sends it unless told otherwise. */
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

/** What the service has counted, by result. */
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
