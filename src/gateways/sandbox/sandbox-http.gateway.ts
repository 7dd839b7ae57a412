import type { Finding, LostTail, Outcome } from '../../domain/outcome.js';
import {
  Gateway,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type RefundRequest,
  type SentCall,
} from '../gateway.js';
import type { SandboxEffectKind } from './sandbox-books.js';
import { outcomeOfRecorded, outcomeOfTakenKey } from './sandbox-recorded.js';
import {
  failureFromWire,
  idsToWire,
  KEY_HEADER,
  type WireCall,
  type WireCharge,
  type WireError,
  type WireMoney,
  type WireResolution,
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
      ...idsToWire(request.ids),
      amount: Number(request.amountMinor),
      currency: request.currency,
      payment_method: request.paymentMethod,
      capture_method: request.captureMethod,
    };
    return this.call({ kind: 'charge', request }, '/charges', body, signal);
  }

  capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome> {
    const path = chargePath(request, 'capture');
    return this.call({ kind: 'capture', request }, path, moneyToWire(request), signal);
  }

  cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome> {
    const path = chargePath(request, 'void');
    return this.call({ kind: 'cancel', request }, path, idsToWire(request.ids), signal);
  }

  refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome> {
    const path = chargePath(request, 'refunds');
    return this.call({ kind: 'refund', request }, path, moneyToWire(request), signal);
  }

  async inquire(call: SentCall, _unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    const response = await this.send('POST', `${keyPath(call)}/resolve`, {}, signal, {});
    if (response.kind !== 'answer' || response.status !== 200) return { kind: 'unknown' };
    return findingOf(call, response.body);
  }

  async lookUp(call: SentCall, _lost: LostTail, signal: AbortSignal): Promise<Finding> {
    const response = await this.send('GET', keyPath(call), {}, signal);
    if (response.kind !== 'answer') return { kind: 'unknown' };
    // Only the gateway itself can say that it has nothing. A proxy's 404 cannot know.
    const { status, body } = response;
    if (status === 404 && (body as Partial<WireError> | null)?.error?.code === 'not_found') {
      return { kind: 'absent' };
    }
    return status === 200 ? findingOf(call, body) : { kind: 'unknown' };
  }

  private async call(call: SentCall, path: string, body: object, signal: AbortSignal): Promise<Outcome> {
    const response = await this.send('POST', path, { [KEY_HEADER]: call.request.gatewayKey }, signal, body);
    switch (response.kind) {
      case 'never_sent':
        return { kind: 'unavailable' };
      case 'lost':
        return { kind: 'unknown' };
      case 'answer': {
        const outcome = outcomeOf(response);
        return outcome === 'key reused' ? this.underTakenKey(call, signal) : outcome;
      }
    }
  }

  private async underTakenKey(call: SentCall, signal: AbortSignal): Promise<Outcome> {
    const now = new Date();
    return outcomeOfTakenKey(await this.lookUp(call, { since: now, until: now }, signal));
  }

  private async send(
    method: 'GET' | 'POST',
    path: string,
    headers: Record<string, string>,
    signal: AbortSignal,
    body?: object,
  ): Promise<Response> {
    if (signal.aborted) return { kind: 'never_sent' };
    try {
      const response = await fetch(this.base + path, {
        method,
        headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        redirect: 'error',
        signal,
      });
      return { kind: 'answer', status: response.status, body: await response.json() };
    } catch (error) {
      return { kind: NEVER_SENT.has(causeOf(error)) ? 'never_sent' : 'lost' };
    }
  }
}

/** What the gateway has under the key of a call. */
function findingOf(call: SentCall, body: unknown): Finding {
  const found = body as WireCall | Extract<WireResolution, { status: 'absent' }> | null;
  switch (found?.status) {
    case 'approved':
    case 'declined':
      return outcomeOfRecorded(call, {
        kind: found.kind as SandboxEffectKind,
        reference: found.reference,
        chargeReference: found.charge_reference,
        amountMinor: BigInt(found.amount),
        currency: found.currency,
        paymentMethod: found.payment_method,
        failure: found.failure && failureFromWire(found.failure),
      });
    case 'absent':
      return { kind: 'absent' };
    case undefined:
      return { kind: 'unknown' };
  }
}

/** What a status and body mean. Anything that they do not say plainly is unknown. */
function outcomeOf({ status, body }: { status: number; body: unknown }): Outcome | 'key reused' {
  const answer = body as (Partial<Extract<WireResolution, { failure: unknown }>> & Partial<WireError>) | null;
  if (status === 200 && typeof answer?.reference === 'string') {
    return { kind: 'approved', reference: answer.reference };
  }
  if (status === 402 && answer?.failure)
    return { kind: 'declined', failure: failureFromWire(answer.failure) };
  // Only the gateway itself can promise that there was no effect. A proxy's 503 cannot know.
  if ((status === 503 || status === 410) && answer?.error?.effect === 'none') return { kind: 'unavailable' };
  if (status === 422 && answer?.error?.code === 'key_reused') return 'key reused';
  if (status >= 400 && status < 500) {
    throw new Error(
      `the sandbox gateway refused a call with ${status}: ${answer?.error?.message ?? 'no reason'}`,
    );
  }
  return { kind: 'unknown' };
}

function moneyToWire({ ids, amountMinor, currency }: CaptureRequest): WireMoney {
  return { ...idsToWire(ids), amount: Number(amountMinor), currency };
}

function keyPath({ request }: SentCall): string {
  return `/calls/${encodeURIComponent(request.gatewayKey)}`;
}

function chargePath({ reference }: CancelRequest, action: string): string {
  return `/charges/${encodeURIComponent(reference)}/${action}`;
}

/** `fetch` wraps the socket's error. */
function causeOf(error: unknown): unknown {
  return (error as { cause?: { code?: unknown } | null } | null)?.cause?.code;
}
