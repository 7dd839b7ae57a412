import { Stripe } from 'stripe';
import type { StripeConfig } from '../../config/config.js';
import type { StripeHttpClient } from './stripe-http-client.js';

/** The version that our types and tests know. Change it only on purpose, together with the SDK's. */
const API_VERSION = '2026-10-28.endive';

export type StripeAccess = Pick<StripeConfig, 'secretKey' | 'apiBase'>;

/** The SDK as this service uses it. */
export function createStripe(
  { secretKey, apiBase }: StripeAccess,
  httpClient: StripeHttpClient,
  maxNetworkRetries: number,
): Stripe {
  return new Stripe(secretKey, {
    apiVersion: API_VERSION,
    maxNetworkRetries,
    telemetry: false,
    httpClient,
    appInfo: { name: 'Hapax' },
    ...(apiBase !== null && hostOf(apiBase)),
  });
}

function hostOf(apiBase: string): { host: string; port: string; protocol: 'http' | 'https' } {
  const { hostname, port, protocol } = new URL(apiBase);
  const secure = protocol === 'https:';
  return { host: hostname, port: port || (secure ? '443' : '80'), protocol: secure ? 'https' : 'http' };
}
