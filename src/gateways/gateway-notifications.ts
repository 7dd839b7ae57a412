import type { IncomingHttpHeaders } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import { isDatabaseUnavailable } from '../database/database-errors.js';
import { GroupCommit } from '../database/group-commit.js';
import { PipelinedTransactions } from '../database/pipelined-transactions.js';
import { RefusedError } from '../domain/errors.js';
import { OpenClaimsStore } from '../idempotency/open-claims.store.js';
import { DueClaims } from '../idempotency/due-claims.js';
import { isTransient, serviceUnavailable } from '../idempotency/retryable.js';
import { GatewayMetrics } from './gateway-metrics.js';
import { GatewayNotificationsStore, type ReceivedNotification } from './gateway-notifications.store.js';
import { type GatewayNotification, NotificationReader } from './notification-reader.js';

/** What a notification brought about. */
type Receipt = 'hastened' | 'nothing_open' | 'duplicate';

/**
 * Takes the provider's notifications in, however often each is sent. One that is new makes the calls that wait for
 * their outcome due at once, in the transaction that remembers it, and recovery asks the provider what became of them.
 * One that comes while its call is still under way changes nothing yet: see `OpenClaimsStore.postpone`.
 */
@Injectable()
export class GatewayNotifications {
  private readonly group: GroupCommit<ReceivedNotification, Receipt>;

  constructor(
    @Inject(NotificationReader) private readonly reader: NotificationReader | null,
    private readonly transactions: PipelinedTransactions,
    private readonly notifications: GatewayNotificationsStore,
    private readonly openClaims: OpenClaimsStore,
    private readonly dueClaims: DueClaims,
    private readonly metrics: GatewayMetrics,
  ) {
    this.group = new GroupCommit((received) => this.commit(received), {
      failsForAll: isDatabaseUnavailable,
      // Of two copies in one group both would be told to be new.
      subjectOf: ({ eventId }) => eventId,
    });
  }

  /**
   * @param gateway as the address names it.
   * @param body the very bytes that were sent.
   * @throws RefusedError `not_found` for a gateway that does not notify this service, `notification_signature_invalid`,
   * `malformed_body`, and `service_unavailable`, after which the provider sends it again.
   */
  async receive(gateway: string, body: Buffer, headers: IncomingHttpHeaders): Promise<void> {
    const { reader } = this;
    if (reader === null || reader.gateway !== gateway) {
      throw new RefusedError({ code: 'not_found', what: 'gateway' });
    }
    const { eventId, type, resourceId } = this.read(reader, body, headers);
    if (resourceId === null) return this.metrics.notified(reader.gateway, 'unrelated');
    const receipt = await this.record({ gateway: reader.gateway, eventId, type, resourceId });
    this.metrics.notified(reader.gateway, receipt);
    if (receipt === 'hastened') this.dueClaims.wake();
  }

  private read(reader: NotificationReader, body: Buffer, headers: IncomingHttpHeaders): GatewayNotification {
    try {
      return reader.read(body, headers);
    } catch (error) {
      this.metrics.notified(reader.gateway, 'refused');
      throw error;
    }
  }

  private async record(received: ReceivedNotification): Promise<Receipt> {
    try {
      return await this.group.submit(received);
    } catch (error) {
      if (!isTransient(error)) throw error;
      // Whether it was written or not: sent again it is either new or a duplicate.
      throw serviceUnavailable(error);
    }
  }

  private async commit(received: ReceivedNotification[]): Promise<Receipt[]> {
    const sorted = received.toSorted((a, b) => compare(a.resourceId, b.resourceId));
    const [, fresh, hastened] = await this.transactions.run((tx) => [
      this.openClaims.lockResources(
        tx,
        sorted.map(({ resourceId }) => resourceId),
      ),
      this.notifications.insert(tx, sorted),
      this.openClaims.hasten(tx, sorted),
    ]);
    return received.map(({ eventId, resourceId }) => {
      if (!fresh.has(eventId)) return 'duplicate';
      return hastened.has(resourceId) ? 'hastened' : 'nothing_open';
    });
  }
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
