import { existsSync } from 'node:fs';
import { StartupError } from '../../config/startup-error.js';
import {
  GatewayBooks,
  isWithin,
  type GatewayEffect,
  type PaymentInBooks,
  type TimeRange,
} from '../gateway-books.js';
import { SandboxBooks, type RecordedCall } from './sandbox-books.js';

/** The sandbox provider's books, from their file. Any number of processes may read it while others write. */
export class SandboxFileBooks extends GatewayBooks {
  readonly name = 'sandbox';
  private readonly books: SandboxBooks;

  /** @throws StartupError if there is no such file: new, empty books would say that nothing ever happened. */
  constructor(path: string) {
    super();
    if (!existsSync(path)) {
      throw new StartupError(
        `The sandbox gateway has no books at ${path}: set DATA_DIR, or SANDBOX_GATEWAY_URL, as the service has them.`,
      );
    }
    this.books = new SandboxBooks(path);
  }

  async *effects(range: TimeRange): AsyncIterable<GatewayEffect[]> {
    for (const page of this.books.pages(this.books.end())) {
      yield page.filter(({ at }) => isWithin(range, at)).map(toEffect);
    }
  }

  async effectsOf(payments: readonly PaymentInBooks[]): Promise<GatewayEffect[]> {
    return payments.flatMap((payment) =>
      this.books
        .findByPayment(payment)
        .filter(({ failure }) => failure === null)
        .map(toEffect),
    );
  }

  close(): void {
    this.books.close();
  }
}

function toEffect(call: RecordedCall): GatewayEffect {
  const { chargeReference, sequence: _sequence, paymentMethod: _method, failure: _failure, ...effect } = call;
  return { ...effect, chargeReference: chargeReference ?? call.reference };
}
