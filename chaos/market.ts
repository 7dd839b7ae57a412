import { acknowledged, isStored, type Entry, type Heard, type Intent } from './journal.js';
import type { Random } from './random.js';

interface KnownPayment {
  transactionId: string;
  key: string;
  amount: number;
}

/** Old ones are left in peace, so that what is asked for is mostly possible. */
const MAX_KNOWN = 200;

/** What clients know of each other's payments, so that they get in each other's way. */
export class Market {
  private authorizations: KnownPayment[] = [];
  private completions: KnownPayment[] = [];
  private payments: KnownPayment[] = [];
  private intents: Intent[] = [];

  /** Of a charge or a capture: what can be done next. */
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
    // A reversed one is left to those who look for a key to reverse, most of the time.
    if (reversed) return;
    // One whose outcome is unknown is captured and refunded all the same: it has to be refused, or to wait.
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

  /** Mostly taken out, so that most are closed once. */
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
