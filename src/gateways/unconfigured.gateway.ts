import { Logger } from '@nestjs/common';
import type { Finding, Outcome } from '../domain/outcome.js';
import { Gateway } from './gateway.js';

/** Outside the sandbox, until a provider is configured: refuses every charge before it has any effect. */
export class UnconfiguredGateway extends Gateway {
  readonly name = 'unconfigured';

  constructor() {
    super();
    new Logger(UnconfiguredGateway.name).warn(
      'no payment gateway is configured: every charge will be answered 503',
    );
  }

  charge = unavailable;
  capture = unavailable;
  cancel = unavailable;
  refund = unavailable;

  /** Calls that an earlier configuration sent cannot be looked up. */
  inquire(): Promise<Finding> {
    return Promise.resolve({ kind: 'unknown' });
  }

  lookUp = unavailable;
}

function unavailable(): Promise<Outcome> {
  return Promise.resolve({ kind: 'unavailable' });
}
