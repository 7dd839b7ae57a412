import { randomBytes } from 'node:crypto';
import { Logger } from '@nestjs/common';
import type { Finding, Outcome } from '../../src/domain/outcome.js';
import type { CaptureRequest, ChargeRequest, RefundRequest, SentCall } from '../../src/gateways/gateway.js';
import { StripeHttpClient } from '../../src/gateways/stripe/stripe-http-client.js';
import { StripeGateway } from '../../src/gateways/stripe/stripe.gateway.js';
import { uuidv8 } from '../../src/ids/uuidv8.js';
import type { Intent } from './stripe-wire.js';
import { SECRET_KEY, StripeServer } from './stripe-server.js';

export const HOUR_MS = 3_600_000;
export const UNKNOWN = { kind: 'unknown' };
export const UNAVAILABLE = { kind: 'unavailable' };
export const ABSENT = { kind: 'absent' };
export const KEY_TAKEN = { kind: 'unknown', keyTaken: true };
export const CREATE = /^POST \/v1\/payment_intents$/;

export let server: StripeServer;
export let logged: string[];

/** Starts a local Stripe for each test of a file. `server` and `logged` are the ones of the test that runs. */
export function withStripe(): void {
  beforeEach(async () => {
    server = await StripeServer.start();
    logged = [];
    const log = (...parts: unknown[]): void => void logged.push(parts.join(' '));
    Logger.overrideLogger({ log, error: log, warn: log });
  });
  afterEach(() => server.close());
}

export function gateway({
  secretKey = SECRET_KEY,
  apiBase = server.url,
  now = Date.now,
  ca = '',
} = {}): StripeGateway {
  return new StripeGateway({ secretKey, apiBase }, new StripeHttpClient(ca === '' ? {} : { ca }), now);
}

export function chargeRequest(changes: Partial<ChargeRequest> = {}): ChargeRequest {
  return {
    gatewayKey: newKey(),
    ids: null,
    sentSince: new Date(),
    amountMinor: 1_999n,
    currency: 'EUR',
    paymentMethod: 'pm_card_visa',
    captureMethod: 'automatic',
    ...changes,
  };
}

export function within(ms = 5_000): AbortSignal {
  return AbortSignal.timeout(ms);
}

export function charge(request = chargeRequest(), on = gateway(), ms?: number): Promise<Outcome> {
  return on.charge(request, within(ms));
}

export function sent(request: ChargeRequest): SentCall {
  return { kind: 'charge', request };
}

/** Asks about a call that was last sent two hours ago. */
export function inquire(call: SentCall, unknownSince = hoursAgo(2), on = gateway()): Promise<Finding> {
  return on.inquire(call, unknownSince, within());
}

export function referenceOf(outcome: Outcome): string {
  if (outcome.kind !== 'approved') throw new Error(`not approved but ${JSON.stringify(outcome)}`);
  return outcome.reference;
}

export function intentOf(reference: string): Intent {
  const intent = server.api.intents.get(reference);
  if (intent === undefined) throw new Error(`no intent ${reference}`);
  return intent;
}

/** An authorized or completed payment, and the request of a later call on it. */
export async function paid(
  captureMethod: ChargeRequest['captureMethod'],
  changes: Partial<ChargeRequest> = {},
) {
  const request = chargeRequest({ captureMethod, ...changes });
  const reference = referenceOf(await charge(request));
  const later: CaptureRequest = {
    gatewayKey: newKey(),
    ids: request.ids,
    sentSince: new Date(),
    reference,
    amountMinor: request.amountMinor,
    currency: request.currency,
  };
  const refund: RefundRequest = { ...later, gatewayKey: newKey() };
  return { request, reference, later, refund };
}

export function hoursAgo(hours: number): Date {
  return new Date(Date.now() - hours * HOUR_MS);
}

export function newKey(): string {
  return uuidv8(randomBytes(32));
}
