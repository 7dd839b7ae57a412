import type { Reversal } from '../domain/reversal.js';

/**
 * The keys of a reversal's own steps. They follow from its request alone. So any process that continues it uses the same
 * ones, and so does the same request after the database has forgotten the reversal. They contain a space, which no client's key may, so the two never collide.
 */
export class ReversalSteps {
  private readonly numbers = { cancel: 1, refund: 1 };

  constructor(private readonly reversal: Reversal) {}

  key(operation: 'cancel' | 'refund'): string {
    return `reversal ${this.reversal.stepsKey} ${operation} ${this.numbers[operation]}`;
  }

  /** Moves on: the next step of this kind gets a new key. */
  done(operation: 'cancel' | 'refund'): void {
    this.numbers[operation] += 1;
  }
}
