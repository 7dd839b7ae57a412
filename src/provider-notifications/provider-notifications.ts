import type { IncomingHttpHeaders } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import { isDatabaseUnavailable } from '../database/database-errors.js';
import { GroupCommit } from '../database/group-commit.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { RefusedError } from '../domain/errors.js';
import {
  type GatewayNotification,
  NotificationReader,
  type NotificationSubject,
} from '../gateways/notification-reader.js';
import { DueClaims } from '../idempotency/due-claims.js';
import { OpenClaimsStore } from '../idempotency/open-claims.store.js';
import { isTransient, serviceUnavailable } from '../idempotency/retryable.js';
import { NotificationMetrics } from './notification-metrics.js';
import { ProviderNotificationsStore, type ReceivedNotification } from './provider-notifications.store.js';

/** A notification whose payment or refund has still to be found. */
interface AboutSubject extends Omit<ReceivedNotification, 'resourceId'> {
  subject: NotificationSubject;
}

/** What became of a notification that names a payment or refund. */
type Receipt = 'hastened' | 'nothing_open' | 'duplicate';

/**
 * Takes in the provider's notifications, however often each is sent. A new one makes the calls that wait for their
 * outcome due at once, in the transaction that remembers it. Recovery then inquires what became of them. A notification
 * that comes while its call is still under way changes nothing yet: see `OpenClaimsStore.postpone`.
 */
@Injectable()
export class ProviderNotifications {
  private readonly group: GroupCommit<AboutSubject, Receipt>;

  constructor(
    @Inject(NotificationReader) private readonly reader: NotificationReader | null,
    private readonly transactions: PipelinedTransactions,
    private readonly notifications: ProviderNotificationsStore,
    private readonly openClaims: OpenClaimsStore,
    private readonly dueClaims: DueClaims,
    private readonly metrics: NotificationMetrics,
  ) {
    this.group = new GroupCommit((received, lockTimeoutMs) => this.commit(received, lockTimeoutMs), {
      failsForAll: isDatabaseUnavailable,
      sideLane: transactions.sideLane,
      // Two copies in one group would both count as new.
      subjectOf: ({ eventId }) => eventId,
    });
  }

  /**
   * @param gateway as the address names it.
   * @param body the exact bytes that were sent.
   * @throws RefusedError `not_found` for a gateway that does not notify this service, `notification_signature_invalid`,
   * `malformed_body`, and `service_unavailable`, after which the provider sends it again.
   */
  async receive(gateway: string, body: Buffer, headers: IncomingHttpHeaders): Promise<void> {
    const { reader } = this;
    if (reader === null || reader.gateway !== gateway) {
      throw new RefusedError({ code: 'not_found', what: 'gateway' });
    }
    const { eventId, type, subject } = this.read(reader, body, headers);
    if (subject === null) return this.metrics.count(reader.gateway, 'unrelated');
    const receipt = await this.record({ gateway: reader.gateway, eventId, type, subject });
    this.metrics.count(reader.gateway, receipt);
    if (receipt === 'hastened') this.dueClaims.wake();
  }

  private read(reader: NotificationReader, body: Buffer, headers: IncomingHttpHeaders): GatewayNotification {
    try {
      return reader.read(body, headers);
    } catch (error) {
      this.metrics.count(reader.gateway, 'refused');
      throw error;
    }
  }

  private async record(received: AboutSubject): Promise<Receipt> {
    try {
      return await this.group.submit(received);
    } catch (error) {
      if (!isTransient(error)) throw error;
      // It may have been written. Sent again, it is either new or a duplicate, and both are right.
      throw serviceUnavailable(error);
    }
  }

  private async commit(received: AboutSubject[], lockTimeoutMs?: number): Promise<Receipt[]> {
    const resources = await this.notifications.resourcesOf(received.map(({ subject }) => subject));
    const known = received.map(({ subject, ...event }, index): ReceivedNotification => {
      // A notification about a call that we have forgotten is kept under its key, and matches nothing.
      const resourceId =
        resources[index] ?? ('gatewayKey' in subject ? subject.gatewayKey : subject.resourceId);
      return { ...event, resourceId };
    });
    const sorted = known.toSorted((a, b) => compare(a.resourceId, b.resourceId));
    const resourceIds = sorted.map(({ resourceId }) => resourceId);
    const [, fresh, hastened] = await this.transactions.run(
      (tx) => [
        this.openClaims.lockResources(tx, resourceIds),
        this.notifications.insert(tx, sorted),
        this.openClaims.hasten(tx, sorted),
      ],
      { lockTimeoutMs },
    );
    return known.map(({ eventId, resourceId }) => {
      if (!fresh.has(eventId)) return 'duplicate';
      return hastened.has(resourceId) ? 'hastened' : 'nothing_open';
    });
  }
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
