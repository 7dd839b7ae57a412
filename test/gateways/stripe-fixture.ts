import { Logger } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { Outcome } from '../../src/domain/outcome.js';
import type { CaptureRequest, ChargeRequest, RefundRequest } from '../../src/gateways/gateway.js';
import { StripeHttpClient } from '../../src/gateways/stripe/stripe-http-client.js';
import { StripeGateway } from '../../src/gateways/stripe/stripe.gateway.js';
import { SECRET_KEY, StripeServer } from './stripe-server.js';
import type { Intent } from './stripe-wire.js';

export const UNKNOWN = { kind: 'unknown' };
export const UNAVAILABLE = { kind: 'unavailable' };
export const CREATE = /^POST \/v1\/payment_intents$/;

/** A local Stripe, a gateway that calls it, and what the gateway logs. */
export class StripeFixture {
  readonly logged: string[] = [];

  private constructor(readonly server: StripeServer) {
    const log = (...parts: unknown[]): void => void this.logged.push(parts.join(' '));
    Logger.overrideLogger({ log, error: log, warn: log });
  }

  static async start(): Promise<StripeFixture> {
    return new StripeFixture(await StripeServer.start());
  }

  close(): Promise<void> {
    return this.server.close();
  }

  gateway({
    secretKey = SECRET_KEY,
    apiBase = this.server.url,
    now = Date.now,
    ca = '',
  } = {}): StripeGateway {
    return new StripeGateway({ secretKey, apiBase }, new StripeHttpClient(ca === '' ? {} : { ca }), now);
  }

  charge(request = chargeRequest(), on = this.gateway(), ms?: number): Promise<Outcome> {
    return on.charge(request, within(ms));
  }

  /** An authorized or completed payment, and the requests of later calls on it. */
  async paid(captureMethod: ChargeRequest['captureMethod'], changes: Partial<ChargeRequest> = {}) {
    const request = chargeRequest({ captureMethod, ...changes });
    const reference = referenceOf(await this.charge(request));
    const later: CaptureRequest = {
      gatewayKey: uuidv7(),
      transactionId: request.transactionId,
      reference,
      amountMinor: request.amountMinor,
      currency: request.currency,
    };
    const refund: RefundRequest = { ...later, gatewayKey: uuidv7(), refundId: uuidv7() };
    return { request, reference, later, refund };
  }

  intentOf(reference: string): Intent {
    const intent = this.server.api.intents.get(reference);
    if (intent === undefined) throw new Error(`no intent ${reference}`);
    return intent;
  }
}

export function chargeRequest(changes: Partial<ChargeRequest> = {}): ChargeRequest {
  return {
    gatewayKey: uuidv7(),
    transactionId: uuidv7(),
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

export function referenceOf(outcome: Outcome): string {
  if (outcome.kind !== 'approved') throw new Error(`not approved but ${JSON.stringify(outcome)}`);
  return outcome.reference;
}
