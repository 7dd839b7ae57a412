import { Logger } from '@nestjs/common';
import { Webhook } from 'standardwebhooks';
import { backoffMs, type BackoffLimits } from '../../time/backoff.js';
import type { DueNotification, NotificationPlan, RecordedCall, SandboxBooks } from './sandbox-books.js';
import type { SandboxEffect, SandboxEffectKind } from './sandbox-books.js';
import type { SandboxScriptRun } from './sandbox-script-run.js';

/** How many notifications are in flight at once. */
const MAX_IN_FLIGHT = 8;
const DELIVERY_TIMEOUT_MS = 5_000;
/** When a process dies while sending, its notifications are due again after this. */
const TAKEN_FOR_MS = 2 * DELIVERY_TIMEOUT_MS;
/** How long a notification waits for another one to overtake it. */
const REORDER_LIMIT_MS = 2_000;
const FIRST_RETRY_MS = 250;
const RETRIES: BackoffLimits = { firstMs: FIRST_RETRY_MS, longestMs: 60_000 };
/** About eight minutes of retries. Then the notification is lost, as with real providers, only sooner. */
const MAX_TRIES = 16;
/** Another process may have died and left notifications in the books. */
const MAX_IDLE_MS = TAKEN_FOR_MS;

type SandboxNotificationType = `${SandboxEffectKind}.${'completed' | 'failed'}`;

/** What is posted. `id` is the same for every copy, and is also the `webhook-id`. */
export interface SandboxNotification {
  id: string;
  type: SandboxNotificationType;
  timestamp: string;
  data: {
    /** The provider's id of this effect. */
    reference: string;
    /** The provider's id of the effect's charge. For a charge, its own. */
    charge_reference: string;
    /** The caller's ids of its payment and refund, if it sent any. */
    transaction_id?: string;
    refund_id?: string;
    idempotency_key: string;
    /** The key of the effect's charge. For a charge, its own. Null if the provider has no such charge. */
    charge_idempotency_key: string | null;
    amount: number;
    currency: string;
    payment_method: string;
    status: 'approved' | 'declined';
    failure: { code: string; message: string } | null;
  };
}

interface NotifierSettings {
  /** Null until {@link SandboxNotifier.start} sets it. */
  url: string | null;
  /** `whsec_` and base64, as in Standard Webhooks. */
  secret: string;
}

/** Payment methods that make the provider misbehave. No ordinary payment uses one. */
const MISBEHAVING = /^pm_gateway_/;

/**
 * Notifies the service of every answered call by a signed POST, at least once. What has to be sent is in the books,
 * written together with the call, and is deleted after a 2xx.
 *
 * A notification costs the service a transaction. So a notifier without a configured address, which gets it from the
 * service that it runs in, reports only rehearsals: the methods that misbehave, and all calls of a script.
 */
export class SandboxNotifier {
  private readonly logger = new Logger(SandboxNotifier.name);
  private readonly webhook: Webhook;
  private url: string | null;
  private onlyRehearsals = false;
  /** The key whose notification waits to be overtaken. */
  private overtakenNext: string | null = null;
  private inFlight = 0;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private readonly aborted = new AbortController();

  constructor(
    private readonly books: SandboxBooks,
    { url, secret }: NotifierSettings,
  ) {
    this.url = url;
    this.webhook = new Webhook(secret);
  }

  /** When to send a call's notification: now, unless a script says otherwise. Null for never. */
  plan({ gatewayKey, paymentMethod }: SandboxEffect, run: SandboxScriptRun | null): NotificationPlan | null {
    if (this.url === null) return null;
    if (this.onlyRehearsals && run === null && !MISBEHAVING.test(paymentMethod)) return null;
    const nowMs = Date.now();
    if (run === null) return { dueAtMs: nowMs, copies: 1 };
    const { duplicate, lateMs, reorder } = run.nextNotification();
    const waits = reorder && this.overtakenNext === null;
    if (waits) this.overtakenNext = gatewayKey;
    return { dueAtMs: nowMs + (waits ? REORDER_LIMIT_MS : lateMs), copies: duplicate ? 2 : 1 };
  }

  /**
   * Sends what earlier processes left, and from then on whatever is recorded.
   * @param fallbackUrl where to send, unless that is configured.
   */
  start(fallbackUrl: string | null): void {
    if (this.url === null) {
      this.url = fallbackUrl;
      this.onlyRehearsals = true;
    }
    this.wake();
  }

  /** Something may be due. Sending starts after the current turn, so that a call never waits for its notification. */
  wake(): void {
    this.schedule(0);
  }

  /** Stops sending. What is in flight counts as unsent, and the next process sends it again. */
  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    this.aborted.abort();
    while (this.inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  private schedule(delayMs: number): void {
    if (this.stopped || this.url === null) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.sendDue(), delayMs);
    // A pending retry must not keep a process alive.
    this.timer.unref();
  }

  private sendDue(): void {
    try {
      const nowMs = Date.now();
      const room = MAX_IN_FLIGHT - this.inFlight;
      if (room > 0) {
        for (const due of this.books.takeDue(nowMs, nowMs + TAKEN_FOR_MS, room)) void this.send(due);
      }
      const nextMs = this.books.nextDueAtMs();
      // Without room, the next delivery that ends wakes us.
      if (this.inFlight < MAX_IN_FLIGHT) {
        this.schedule(Math.min(Math.max((nextMs ?? Infinity) - nowMs, 0), MAX_IDLE_MS));
      }
    } catch (error) {
      this.logger.error(
        'could not read the notifications to send',
        error instanceof Error ? error.stack : error,
      );
      this.schedule(FIRST_RETRY_MS);
    }
  }

  private async send({ call, triesBefore }: DueNotification): Promise<void> {
    this.inFlight += 1;
    try {
      const problem = await this.post(this.url ?? '', call);
      if (problem === null) this.arrived(call);
      else if (!this.stopped) this.failed(call, triesBefore + 1, problem);
    } catch (error) {
      this.logger.error('could not note a delivery', error instanceof Error ? error.stack : error);
    } finally {
      this.inFlight -= 1;
      this.wake();
    }
  }

  /** @returns null when it has arrived, otherwise the reason why it has not. */
  private async post(url: string, call: RecordedCall): Promise<string | null> {
    const notification = toNotification(call);
    const body = JSON.stringify(notification);
    const sentAt = new Date();
    try {
      const answer = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'webhook-id': notification.id,
          'webhook-timestamp': String(Math.floor(sentAt.getTime() / 1_000)),
          'webhook-signature': this.webhook.sign(notification.id, sentAt, body),
        },
        body,
        redirect: 'error',
        signal: AbortSignal.any([this.aborted.signal, AbortSignal.timeout(DELIVERY_TIMEOUT_MS)]),
      });
      await answer.body?.cancel();
      return answer.ok ? null : `status ${answer.status}`;
    } catch (error) {
      const { cause = error } = error as { cause?: unknown };
      const { code, name } = cause as { code?: unknown; name?: unknown };
      return String(code ?? name ?? cause);
    }
  }

  private arrived(call: RecordedCall): void {
    const nowMs = Date.now();
    this.books.delivered(call.sequence, nowMs);
    const { overtakenNext } = this;
    if (overtakenNext === null) return;
    this.overtakenNext = null;
    if (overtakenNext !== call.gatewayKey) this.books.hasten(overtakenNext, nowMs);
  }

  private failed(call: RecordedCall, tries: number, problem: string): void {
    const isLast = tries >= MAX_TRIES;
    this.books.postpone(call.sequence, isLast ? null : Date.now() + backoffMs(tries, RETRIES));
    if (tries > 1 && !isLast) return;
    this.logger.warn(
      `notification ${toNotification(call).id} did not arrive (${problem}): ` +
        (isLast ? `given up after ${tries} tries` : 'it will be sent again'),
    );
  }
}

function toNotification(call: RecordedCall): SandboxNotification {
  return {
    id: `evt_${call.reference}`,
    type: `${call.kind}.${call.failure === null ? 'completed' : 'failed'}`,
    timestamp: call.at.toISOString(),
    data: {
      reference: call.reference,
      charge_reference: call.chargeReference ?? call.reference,
      ...(call.transactionId !== null && { transaction_id: call.transactionId }),
      ...(call.refundId !== null && { refund_id: call.refundId }),
      idempotency_key: call.gatewayKey,
      charge_idempotency_key: call.chargeKey,
      amount: Number(call.amountMinor),
      currency: call.currency,
      payment_method: call.paymentMethod,
      status: call.failure === null ? 'approved' : 'declined',
      failure: call.failure,
    },
  };
}
