import { Logger } from '@nestjs/common';
import type { Finding, Outcome } from '../../domain/outcome.js';
import type { SentCall } from '../gateway.js';
import type { RecordedCall } from './sandbox-books.js';

/** What the provider has answered under a key, as far as it says whether that was the call in question. */
type Recorded = Pick<
  RecordedCall,
  'kind' | 'reference' | 'chargeReference' | 'amountMinor' | 'currency' | 'paymentMethod' | 'failure'
>;

const logger = new Logger('SandboxGateway');

/**
 * The outcome of a call by what the provider has under its key. If that is another call, the outcome is unknown for
 * good: a person has to find out how it got there.
 */
export function outcomeOfRecorded(call: SentCall, recorded: Recorded): Outcome {
  if (!isSameCall(call, recorded)) {
    logger.error(
      `the gateway has another call under the key ${call.request.gatewayKey} of this ${call.kind}: ` +
        'its outcome stays unknown',
    );
    return { kind: 'unknown', keyTaken: true };
  }
  const { reference, failure } = recorded;
  return failure === null ? { kind: 'approved', reference } : { kind: 'declined', failure };
}

/** After the provider said that it knows the key with other parameters. Whatever we find, it is not absent. */
export function outcomeOfTakenKey(finding: Finding): Outcome {
  return finding.kind === 'approved' || finding.kind === 'declined'
    ? finding
    : { kind: 'unknown', keyTaken: true };
}

/** The same effect on the same money. Our ids do not count: they differ if we made the payment again after a loss. */
function isSameCall(call: SentCall, recorded: Recorded): boolean {
  switch (call.kind) {
    case 'charge': {
      const { captureMethod, paymentMethod } = call.request;
      const kind = captureMethod === 'manual' ? 'authorization' : 'charge';
      return (
        recorded.kind === kind && recorded.paymentMethod === paymentMethod && isSameMoney(call, recorded)
      );
    }
    case 'capture':
    case 'refund':
      return recorded.kind === call.kind && isSameCharge(call, recorded) && isSameMoney(call, recorded);
    case 'cancel':
      return recorded.kind === 'void' && isSameCharge(call, recorded);
  }
}

function isSameMoney(
  { request }: Exclude<SentCall, { kind: 'cancel' }>,
  { amountMinor, currency }: Recorded,
): boolean {
  return request.amountMinor === amountMinor && request.currency === currency;
}

function isSameCharge({ request }: Exclude<SentCall, { kind: 'charge' }>, recorded: Recorded): boolean {
  return request.reference === recorded.chargeReference;
}
