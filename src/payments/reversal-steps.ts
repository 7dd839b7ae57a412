import type { Reversal } from '../domain/reversal.js';

/**
 * The keys of a reversal's own steps: they follow from the reversal alone, so whoever carries it on uses the
 * same ones. The blank keeps them apart from clients' keys, which have none.
 */
export class ReversalSteps {
  private readonly numbers = { cancel: 1, refund: 1 };

  constructor(private readonly reversal: Reversal) {}

  key(operation: 'cancel' | 'refund'): string {
    return `reversal ${this.reversal.reversalId} ${operation} ${this.numbers[operation]}`;
  }

  /** The next one of this kind is another step. */
  done(operation: 'cancel' | 'refund'): void {
    this.numbers[operation] += 1;
  }
}
