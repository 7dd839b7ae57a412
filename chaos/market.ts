import { acknowledged, isStored, type Entry, type Heard, type Intent } from './journal.js';
import type { Random } from './random.js';

interface KnownPayment {
  transactionId: string;
  key: string;
  amount: number;
}

/** Old payments are forgotten, so that most requests for the rest are possible. */
const MAX_KNOWN = 200;

/** The payments that clients share, so that they get in each other's way. */
export class Market {
  private authorizations: KnownPayment[] = [];
  private completions: KnownPayment[] = [];
  private payments: KnownPayment[] = [];
  private intents: Intent[] = [];

  /** After a charge or a capture: remembers what can be done next. */
  note(intent: Intent, entry: Entry, { reversed = false } = {}): void {
    const payment =
      acknowledged(entry)?.json ?? entry.tries.find(({ heard }) => heard?.status === 202)?.heard?.json;
    if (typeof payment?.['transaction_id'] !== 'string') return;
    const known = {
      transactionId: payment['transaction_id'],
      key: intent.key,
      amount: Number(payment['amount_captured'] || payment['amount'] || 1),
    };
    if (intent.operation === 'charge') push(this.payments, known);
    // A reversed payment is only read, or reversed once more.
    if (reversed) return;
    // A payment with an unknown outcome may be captured or refunded too: the service must refuse or wait.
    const manual = payment['capture_method'] === 'manual';
    if (payment['status'] === 'authorized' || (payment['status'] === 'pending' && manual)) {
      push(this.authorizations, known);
    } else if (payment['status'] === 'completed' || payment['status'] === 'pending') {
      push(this.completions, known);
    }
  }

  heard(intent: Intent, heard: Heard): void {
    if (isStored(heard)) push(this.intents, intent);
  }

  /** Usually removed from the list, so that most authorizations are ended once. */
  authorized(random: Random): KnownPayment | undefined {
    const payment = random.pick(this.authorizations);
    if (random.chance(0.8)) this.authorizations = this.authorizations.filter((other) => other !== payment);
    return payment;
  }

  completed(random: Random): KnownPayment | undefined {
    return random.pick(this.completions);
  }

  any(random: Random): KnownPayment | undefined {
    return random.pick(this.payments);
  }

  answered(random: Random): Intent | undefined {
    return random.pick(this.intents);
  }

  reversible(random: Random): string | undefined {
    return random.chance(0.1) ? this.answered(random)?.key : this.any(random)?.key;
  }
}

function push<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > MAX_KNOWN) list.shift();
}
