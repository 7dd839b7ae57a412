import type { Finding, Outcome } from '../../domain/outcome.js';
import {
  Gateway,
  GatewayKeyReusedError,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type GatewayInquiry,
  type RefundRequest,
} from '../gateway.js';
import {
  failureFromWire,
  KEY_HEADER,
  type WireCapture,
  type WireCharge,
  type WireError,
  type WireRefund,
  type WireResolution,
  type WireVoid,
} from './sandbox-wire.js';

/**
 * Errors of a connection that was never made, so nothing can have been sent. Every other error counts as sent: a
 * connection may deliver every byte and be reset after that.
 */
const NEVER_SENT: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** What came back: an answer, or why there was none. */
type Response = { kind: 'answer'; status: number; body: unknown } | { kind: 'never_sent' } | { kind: 'lost' };

/** The sandbox provider in a process of its own, with every fault that a network adds. */
export class SandboxHttpGateway extends Gateway {
  readonly name = 'sandbox';
  private readonly base: string;

  /** @param url where the gateway's process listens, without a trailing slash. */
  constructor(url: string) {
    super();
    this.base = url;
  }

  charge(request: ChargeRequest, signal: AbortSignal): Promise<Outcome> {
    const body: WireCharge = {
      transaction_id: request.transactionId,
      amount: Number(request.amountMinor),
      currency: request.currency,
      payment_method: request.paymentMethod,
      capture_method: request.captureMethod,
    };
    return this.call('/charges', request.gatewayKey, body, signal);
  }

  capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome> {
    const body: WireCapture = moneyToWire(request);
    return this.call(chargePath(request, 'capture'), request.gatewayKey, body, signal);
  }

  cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome> {
    const body: WireVoid = { transaction_id: request.transactionId };
    return this.call(chargePath(request, 'void'), request.gatewayKey, body, signal);
  }

  refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome> {
    const body: WireRefund = { ...moneyToWire(request), refund_id: request.refundId };
    return this.call(chargePath(request, 'refunds'), request.gatewayKey, body, signal);
  }

  async inquire({ gatewayKey }: GatewayInquiry, signal: AbortSignal): Promise<Finding> {
    const response = await this.post(`/calls/${encodeURIComponent(gatewayKey)}/resolve`, {}, {}, signal);
    if (response.kind !== 'answer' || response.status !== 200) return { kind: 'unknown' };
    const found = response.body as WireResolution | null;
    switch (found?.status) {
      case 'approved':
        return { kind: 'approved', reference: found.reference };
      case 'declined':
        return { kind: 'declined', failure: failureFromWire(found.failure) };
      case 'absent':
        return { kind: 'absent' };
      case undefined:
        return { kind: 'unknown' };
    }
  }

  private async call(path: string, gatewayKey: string, body: object, signal: AbortSignal): Promise<Outcome> {
    const response = await this.post(path, { [KEY_HEADER]: gatewayKey }, body, signal);
    switch (response.kind) {
      case 'never_sent':
        return { kind: 'unavailable' };
      case 'lost':
        return { kind: 'unknown' };
      case 'answer':
        return outcomeOf(response);
    }
  }

  private async post(
    path: string,
    headers: Record<string, string>,
    body: object,
    signal: AbortSignal,
  ): Promise<Response> {
    if (signal.aborted) return { kind: 'never_sent' };
    try {
      const response = await fetch(this.base + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
        redirect: 'error',
        signal,
      });
      return { kind: 'answer', status: response.status, body: await response.json() };
    } catch (error) {
      return { kind: NEVER_SENT.has(causeOf(error)) ? 'never_sent' : 'lost' };
    }
  }
}

/** What a status and body mean. Anything that they do not say plainly is unknown. */
function outcomeOf({ status, body }: { status: number; body: unknown }): Outcome {
  const answer = body as (Partial<Extract<WireResolution, { failure: unknown }>> & Partial<WireError>) | null;
  if (status === 200 && typeof answer?.reference === 'string') {
    return { kind: 'approved', reference: answer.reference };
  }
  if (status === 402 && answer?.failure)
    return { kind: 'declined', failure: failureFromWire(answer.failure) };
  // Only the gateway itself can promise that there was no effect. A proxy's 503 cannot know.
  if ((status === 503 || status === 410) && answer?.error?.effect === 'none') return { kind: 'unavailable' };
  if (status === 422 && answer?.error?.code === 'key_reused') throw new GatewayKeyReusedError();
  if (status >= 400 && status < 500) {
    throw new Error(
      `the sandbox gateway refused a call with ${status}: ${answer?.error?.message ?? 'no reason'}`,
    );
  }
  return { kind: 'unknown' };
}

function moneyToWire({ transactionId, amountMinor, currency }: CaptureRequest): WireCapture {
  return { transaction_id: transactionId, amount: Number(amountMinor), currency };
}

function chargePath({ reference }: CancelRequest, action: string): string {
  return `/charges/${encodeURIComponent(reference)}/${action}`;
}

/** `fetch` wraps the socket's error. */
function causeOf(error: unknown): unknown {
  return (error as { cause?: { code?: unknown } | null } | null)?.cause?.code;
}
