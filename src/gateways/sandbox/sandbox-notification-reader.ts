import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
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

/** The headers of Standard Webhooks. The signature covers the id, too. */
const SIGNED_HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const;

/** Reads notifications of the sandbox provider, signed by Standard Webhooks. */
export class SandboxNotificationReader extends NotificationReader {
  readonly gateway = 'sandbox';
  private readonly webhook: Webhook;

  /** @param secret `whsec_` and base64. */
  constructor(secret: string) {
    super();
    this.webhook = new Webhook(secret);
  }

  read(body: Buffer, headers: IncomingHttpHeaders): GatewayNotification {
    this.verify(body, headers);
    const notification = parse(body);
    const data = field(notification, 'data');
    const type = plainWord(field(notification, 'type'), 'type');
    return {
      eventId: plainWord(headers['webhook-id'], 'webhook-id'),
      type,
      subject: subject(type, data),
    };
  }

  private verify(body: Buffer, headers: IncomingHttpHeaders): void {
    const signed = Object.fromEntries(SIGNED_HEADERS.map((name) => [name, String(headers[name] ?? '')]));
    // The library signs the decoded text, and many byte sequences that are not UTF-8 decode to the same text.
    if (!isUtf8(body)) throw notSigned();
    try {
      this.webhook.verify(body, signed, { jsonParse: false });
    } catch (error) {
      if (error instanceof WebhookVerificationError) throw notSigned(error);
      throw error;
    }
  }
}

/** A refund's notification names its payment as well, and its own key. Any other belongs to its charge. */
function subject(type: string, data: unknown): NotificationSubject | null {
  if (type.startsWith('refund.')) {
    return subjectOf('refund', field(data, 'refund_id'), field(data, 'idempotency_key'));
  }
  return subjectOf('payment', field(data, 'transaction_id'), field(data, 'charge_idempotency_key'));
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw notANotification('The body is not valid JSON.');
  }
}
