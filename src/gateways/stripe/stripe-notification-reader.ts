import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { Stripe } from 'stripe';
import {
  field,
  type GatewayNotification,
  notANotification,
  NotificationReader,
  notSigned,
  ourId,
  plainWord,
} from '../notification-reader.js';
import { REFUND_ID, TRANSACTION_ID } from './stripe-outcomes.js';

/** Notifications of Stripe, checked by its own package. */
export class StripeNotificationReader extends NotificationReader {
  readonly gateway = 'stripe';

  /** @param secret the endpoint's signing secret. */
  constructor(private readonly secret: string) {
    super();
  }

  read(body: Buffer, headers: IncomingHttpHeaders): GatewayNotification {
    const event = this.verified(body, headers);
    return {
      eventId: plainWord(field(event, 'id'), 'id'),
      type: plainWord(field(event, 'type'), 'type'),
      resourceId: resourceOf(field(field(event, 'data'), 'object')),
    };
  }

  private verified(body: Buffer, headers: IncomingHttpHeaders): unknown {
    const header = headers['stripe-signature'];
    // The package signs the text that the bytes stand for, and many bytes that are not UTF-8 stand for the same one.
    if (typeof header !== 'string' || !isUtf8(body)) throw notSigned();
    try {
      return Stripe.webhooks.constructEvent(body, header, this.secret);
    } catch (error) {
      // It parses what it has verified. Whatever else it throws, plain errors at odd headers included, comes before.
      throw error instanceof SyntaxError ? notANotification('The body is not valid JSON.') : notSigned(error);
    }
  }
}

/**
 * Our metadata says what an object is for. An intent stands for whatever is open of its payment: the charge, the
 * capture or the cancel. Other objects, and those of other services on the same account, are none of ours.
 */
function resourceOf(object: unknown): string | null {
  const metadata = field(object, 'metadata');
  switch (field(object, 'object')) {
    case 'payment_intent':
      return ourId(field(metadata, TRANSACTION_ID));
    case 'refund':
      return ourId(field(metadata, REFUND_ID));
    default:
      return null;
  }
}
