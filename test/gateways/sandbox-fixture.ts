import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { parseSandboxScript, type SandboxScript } from '../../src/config/sandbox-script.js';
import type { CaptureRequest, ChargeRequest, RefundRequest, SentCall } from '../../src/gateways/gateway.js';
import { SandboxBooks } from '../../src/gateways/sandbox/sandbox-books.js';
import { SandboxEngine } from '../../src/gateways/sandbox/sandbox-engine.js';
import { createTemporaryFolder } from '../support/postgres.js';

export interface SandboxFixture {
  engine: SandboxEngine;
  /** The same books, opened as another process would. */
  reopen(): SandboxBooks;
  remove(): Promise<void>;
}

export async function createSandbox(): Promise<SandboxFixture> {
  const folder = await createTemporaryFolder();
  const path = join(folder.path, 'books.sqlite');
  const engine = new SandboxEngine(new SandboxBooks(path));
  return {
    engine,
    reopen: () => new SandboxBooks(path),
    remove: async () => {
      await engine.close();
      await folder.remove();
    },
  };
}

export function chargeRequest(
  paymentMethod = 'pm_card_visa',
  change: Partial<ChargeRequest> = {},
): ChargeRequest {
  return {
    gatewayKey: randomUUID(),
    ids: null,
    sentSince: new Date(),
    amountMinor: 1_999n,
    currency: 'EUR',
    paymentMethod,
    captureMethod: 'automatic',
    ...change,
  };
}

export function captureRequest(charge: ChargeRequest, reference: string): CaptureRequest {
  const { ids, sentSince, amountMinor, currency } = charge;
  return { gatewayKey: randomUUID(), ids, sentSince, reference, amountMinor, currency };
}

export function refundRequest(charge: ChargeRequest, reference: string): RefundRequest {
  return captureRequest(charge, reference);
}

export function sent(request: ChargeRequest): SentCall {
  return { kind: 'charge', request };
}

/** A client that waits this long. */
export function patience(ms: number): AbortSignal {
  return AbortSignal.timeout(ms);
}

export function script(json: object): SandboxScript {
  return parseSandboxScript(json);
}
