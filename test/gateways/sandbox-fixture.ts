import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { parseSandboxScript, type SandboxScript } from '../../src/config/sandbox-script.js';
import type {
  CaptureRequest,
  ChargeRequest,
  GatewayInquiry,
  RefundRequest,
} from '../../src/gateways/gateway.js';
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
    transactionId: randomUUID(),
    amountMinor: 1_999n,
    currency: 'EUR',
    paymentMethod,
    captureMethod: 'automatic',
    ...change,
  };
}

export function captureRequest(charge: ChargeRequest, reference: string): CaptureRequest {
  const { transactionId, amountMinor, currency } = charge;
  return { gatewayKey: randomUUID(), transactionId, reference, amountMinor, currency };
}

export function refundRequest(charge: ChargeRequest, reference: string): RefundRequest {
  return { ...captureRequest(charge, reference), refundId: randomUUID() };
}

export function inquiryOf(charge: ChargeRequest): GatewayInquiry {
  return {
    kind: 'charge',
    gatewayKey: charge.gatewayKey,
    transactionId: charge.transactionId,
    refundId: null,
    reference: null,
    unknownSince: new Date(),
  };
}

/** A client that waits this long. */
export function patience(ms: number): AbortSignal {
  return AbortSignal.timeout(ms);
}

export function script(json: object): SandboxScript {
  return parseSandboxScript(json);
}
