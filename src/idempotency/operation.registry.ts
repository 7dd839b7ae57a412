import { Injectable } from '@nestjs/common';
import type { AnyOperation } from './operation.js';

/** Every operation by the name that is stored with its claims. `app.module.ts` lists them. */
@Injectable()
export class OperationRegistry {
  private readonly operations = new Map<string, AnyOperation>();

  register(operations: readonly AnyOperation[]): void {
    for (const operation of operations) {
      if (this.operations.has(operation.name)) throw new Error(`two operations are named ${operation.name}`);
      this.operations.set(operation.name, operation);
    }
  }

  /** Undefined for an operation of a newer version. A process of that version will recover its claims. */
  get(name: string): AnyOperation | undefined {
    return this.operations.get(name);
  }

  all(): readonly AnyOperation[] {
    return [...this.operations.values()];
  }

  /** What this process may take over. */
  names(): readonly string[] {
    return [...this.operations.keys()];
  }

  /** The names of the operations that run others and call no gateway themselves. */
  composites(): readonly string[] {
    return this.all().flatMap((operation) => ('carryOn' in operation ? [operation.name] : []));
  }
}
