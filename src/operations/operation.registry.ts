import { Injectable } from '@nestjs/common';
import { ChargeOperation } from '../payments/charge.operation.js';
import type { AnyOperation } from './operation.js';

/** Every operation by the name that is stored with its claims, for those who find a claim without its request. */
@Injectable()
export class OperationRegistry {
  private readonly operations: ReadonlyMap<string, AnyOperation>;

  constructor(charge: ChargeOperation) {
    this.operations = new Map([charge].map((operation) => [operation.name, operation]));
  }

  /** Undefined for an operation of a newer version, whose process will recover it. */
  find(name: string): AnyOperation | undefined {
    return this.operations.get(name);
  }
}
