import { setTimeout as sleep } from 'node:timers/promises';
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
import type { Replying, SandboxEngine, SandboxReply, SandboxVerdict } from './sandbox-engine.js';

/** The sandbox provider in the service's own process: the same engine, without HTTP in between. */
export class SandboxGateway extends Gateway {
  readonly name = 'sandbox';

  constructor(private readonly engine: SandboxEngine) {
    super();
  }

  charge(request: ChargeRequest, signal: AbortSignal): Promise<Outcome> {
    return outcomeOf(() => this.engine.charge(request), signal);
  }

  capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome> {
    return outcomeOf(() => this.engine.capture(request), signal);
  }

  cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome> {
    return outcomeOf(() => this.engine.void(request), signal);
  }

  refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome> {
    return outcomeOf(() => this.engine.refund(request), signal);
  }

  async inquire({ gatewayKey }: GatewayInquiry, signal: AbortSignal): Promise<Finding> {
    const { verdict, delayMs } = this.engine.resolve(gatewayKey);
    if (delayMs > 0 && !(await passed(delayMs, signal))) return { kind: 'unknown' };
    switch (verdict.kind) {
      case 'found': {
        const { reference, failure } = verdict.call;
        return failure === null ? { kind: 'approved', reference } : { kind: 'declined', failure };
      }
      case 'absent':
        return { kind: 'absent' };
      case 'silence':
        await aborted(signal);
        return { kind: 'unknown' };
      case 'refuse':
      case 'error':
      case 'reset':
        return { kind: 'unknown' };
    }
  }
}

async function outcomeOf(call: () => Replying, signal: AbortSignal): Promise<Outcome> {
  if (signal.aborted) return { kind: 'unavailable' };
  const replying = call();
  const reply = 'verdict' in replying ? replying : await orAborted(replying, signal);
  if (reply === null) return { kind: 'unknown' };
  const { verdict, delayMs } = reply;
  if (delayMs > 0 && !(await passed(delayMs, signal))) return { kind: 'unknown' };
  if (verdict.kind === 'silence') await aborted(signal);
  return toOutcome(verdict);
}

function toOutcome(verdict: SandboxVerdict): Outcome {
  switch (verdict.kind) {
    case 'approved':
      return { kind: 'approved', reference: verdict.reference };
    case 'declined':
      return { kind: 'declined', failure: verdict.failure };
    case 'unavailable':
    case 'closed':
      return { kind: 'unavailable' };
    case 'silence':
    case 'error':
    case 'reset':
      return { kind: 'unknown' };
    case 'reused':
      throw new GatewayKeyReusedError();
  }
}

/** A call still arrives after its client has given up. @returns null if the client gave up first. */
function orAborted(replying: Promise<SandboxReply>, signal: AbortSignal): Promise<SandboxReply | null> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => resolve(null);
    signal.addEventListener('abort', giveUp, { once: true });
    replying.finally(() => signal.removeEventListener('abort', giveUp)).then(resolve, reject);
  });
}

/** @returns false when the signal came first. */
async function passed(delayMs: number, signal: AbortSignal): Promise<boolean> {
  return sleep(delayMs, true, { signal }).catch(() => false);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
