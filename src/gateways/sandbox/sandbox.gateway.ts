import { setTimeout as sleep } from 'node:timers/promises';
import type { Finding, LostTail, Outcome } from '../../domain/outcome.js';
import {
  Gateway,
  type CancelRequest,
  type CaptureRequest,
  type ChargeRequest,
  type RefundRequest,
  type SentCall,
} from '../gateway.js';
import type { Replying, SandboxEngine, SandboxLookupReply, SandboxReply } from './sandbox-engine.js';
import { outcomeOfRecorded, outcomeOfTakenKey } from './sandbox-recorded.js';

/** The sandbox provider in the service's own process: the same engine, without HTTP in between. */
export class SandboxGateway extends Gateway {
  readonly name = 'sandbox';

  constructor(private readonly engine: SandboxEngine) {
    super();
  }

  charge(request: ChargeRequest, signal: AbortSignal): Promise<Outcome> {
    return this.outcome({ kind: 'charge', request }, () => this.engine.charge(request), signal);
  }

  capture(request: CaptureRequest, signal: AbortSignal): Promise<Outcome> {
    return this.outcome({ kind: 'capture', request }, () => this.engine.capture(request), signal);
  }

  cancel(request: CancelRequest, signal: AbortSignal): Promise<Outcome> {
    return this.outcome({ kind: 'cancel', request }, () => this.engine.void(request), signal);
  }

  refund(request: RefundRequest, signal: AbortSignal): Promise<Outcome> {
    return this.outcome({ kind: 'refund', request }, () => this.engine.refund(request), signal);
  }

  inquire(call: SentCall, _unknownSince: Date, signal: AbortSignal): Promise<Finding> {
    return findingOf(call, this.engine.resolve(call.request.gatewayKey), signal);
  }

  lookUp(call: SentCall, _lost: LostTail, signal: AbortSignal): Promise<Finding> {
    return findingOf(call, this.engine.lookUp(call.request.gatewayKey), signal);
  }

  private async outcome(call: SentCall, send: () => Replying, signal: AbortSignal): Promise<Outcome> {
    if (signal.aborted) return { kind: 'unavailable' };
    const replying = send();
    const reply = 'verdict' in replying ? replying : await orAborted(replying, signal);
    if (reply === null) return { kind: 'unknown' };
    const { verdict, delayMs } = reply;
    if (delayMs > 0 && !(await passed(delayMs, signal))) return { kind: 'unknown' };
    switch (verdict.kind) {
      case 'approved':
        return { kind: 'approved', reference: verdict.reference };
      case 'declined':
        return { kind: 'declined', failure: verdict.failure };
      case 'unavailable':
      case 'closed':
        return { kind: 'unavailable' };
      case 'silence':
        await aborted(signal);
        return { kind: 'unknown' };
      case 'error':
      case 'reset':
        return { kind: 'unknown' };
      case 'reused': {
        const recorded = this.engine.lookUp(call.request.gatewayKey);
        return outcomeOfTakenKey(await findingOf(call, recorded, signal));
      }
    }
  }
}

async function findingOf(
  call: SentCall,
  { verdict, delayMs }: SandboxLookupReply,
  signal: AbortSignal,
): Promise<Finding> {
  if (delayMs > 0 && !(await passed(delayMs, signal))) return { kind: 'unknown' };
  switch (verdict.kind) {
    case 'found':
      return outcomeOfRecorded(call, verdict.call);
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
