import { Injectable } from '@nestjs/common';
import { CancelOperation } from '../payments/cancel.operation.js';
import { CaptureOperation } from '../payments/capture.operation.js';
import { ChargeOperation } from '../payments/charge.operation.js';
import { RefundOperation } from '../payments/refund.operation.js';
import type { AnyOperation } from './operation.js';

/** Every operation by the name that is stored with its claims, for those who find a claim without its request. */
@Injectable()
export class OperationRegistry {
  private readonly operations = new Map<string, AnyOperation>();

  constructor(
    charge: ChargeOperation,
    capture: CaptureOperation,
    cancel: CancelOperation,
    refund: RefundOperation,
  ) {
    for (const operation of [charge, capture, cancel, refund]) this.register(operation);
  }

  /** For an operation that is carried out by others of these, and so needs the runner, which needs this registry. */
  register(operation: AnyOperation): void {
    this.operations.set(operation.name, operation);
  }

  /** Undefined for an operation of a newer version, whose process will recover it. */
  find(name: string): AnyOperation | undefined {
    return this.operations.get(name);
  }
}
