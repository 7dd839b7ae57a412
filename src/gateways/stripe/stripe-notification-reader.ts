import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { Stripe } from 'stripe';
import {
  field,
  type GatewayNotification,
  notANotification,
  NotificationReader,
  type NotificationSubject,
  notSigned,
  plainWord,
  subjectOf,
} from '../notification-reader.js';
import { CALL_KEY, REFUND_ID, TRANSACTION_ID } from './stripe-outcomes.js';

/** Reads Stripe's notifications. Stripe's own package verifies them. */
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
      subject: subject(field(field(event, 'data'), 'object')),
    };
  }

  private verified(body: Buffer, headers: IncomingHttpHeaders): unknown {
    const header = headers['stripe-signature'];
    // The package signs the decoded text, and many byte sequences that are not UTF-8 decode to the same text.
    if (typeof header !== 'string' || !isUtf8(body)) throw notSigned();
    try {
      return Stripe.webhooks.constructEvent(body, header, this.secret);
    } catch (error) {
      // It parses only after it has verified. All its other errors, even plain ones for odd headers, come before that.
      throw error instanceof SyntaxError ? notANotification('The body is not valid JSON.') : notSigned(error);
    }
  }
}

/**
 * Our metadata says what an object belongs to. An intent stands for whatever call on its payment is open: the charge,
 * the capture or the cancel. Other objects, and objects of other services on the same account, are none of ours.
 */
function subject(object: unknown): NotificationSubject | null {
  const metadata = field(object, 'metadata');
  switch (field(object, 'object')) {
    case 'payment_intent':
      return subjectOf('payment', field(metadata, TRANSACTION_ID), field(metadata, CALL_KEY));
    case 'refund':
      return subjectOf('refund', field(metadata, REFUND_ID), field(metadata, CALL_KEY));
    default:
      return null;
  }
}
