import { Injectable } from '@nestjs/common';
import type { Finding, Outcome } from '../../../src/domain/outcome.js';

const NO_FLAGS: Outcome = {
  kind: 'declined',
  failure: { code: 'card_declined', message: 'The provider does not flag payments of this card.' },
};

/** What the provider does with a call. */
type Behaviour = 'answers' | 'loses its answer' | 'refuses';

/** A provider that the test controls. Like a real one, it acts once for each gateway key. */
@Injectable()
export class FlagProvider {
  behaviour: Behaviour = 'answers';
  /** The gateway key of each call and of each inquiry, in order. */
  readonly calls: string[] = [];
  readonly inquiries: string[] = [];
  /** The gateway keys of what it has flagged: its own books. */
  readonly flagged: string[] = [];

  flag(gatewayKey: string): Promise<Outcome> {
    this.calls.push(gatewayKey);
    if (this.behaviour === 'refuses') return Promise.resolve(NO_FLAGS);
    if (!this.flagged.includes(gatewayKey)) this.flagged.push(gatewayKey);
    return Promise.resolve(this.behaviour === 'answers' ? this.approval(gatewayKey) : { kind: 'unknown' });
  }

  inquire(gatewayKey: string): Promise<Finding> {
    this.inquiries.push(gatewayKey);
    return Promise.resolve(
      this.flagged.includes(gatewayKey) ? this.approval(gatewayKey) : { kind: 'absent' },
    );
  }

  /** Like an inquiry, but it promises nothing about later calls. This provider refuses none anyway. */
  lookUp(gatewayKey: string): Promise<Finding> {
    return this.inquire(gatewayKey);
  }

  private approval(gatewayKey: string): Outcome {
    return { kind: 'approved', reference: `flag_${gatewayKey}` };
  }
}
