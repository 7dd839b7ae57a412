import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import {
  field,
  type GatewayNotification,
  notANotification,
  NotificationReader,
  notSigned,
  ourId,
  plainWord,
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
    return {
      eventId: plainWord(headers['webhook-id'], 'webhook-id'),
      type: plainWord(field(notification, 'type'), 'type'),
      // A refund's notification also names its payment.
      resourceId: ourId(field(data, 'refund_id') ?? field(data, 'transaction_id')),
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

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw notANotification('The body is not valid JSON.');
  }
}
