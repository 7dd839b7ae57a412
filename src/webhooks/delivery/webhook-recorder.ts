import { Inject, Injectable, Logger } from '@nestjs/common';
import { CONFIG, type Config } from '../../config/config.js';
import { isDatabaseUnavailable } from '../../database/database-errors.js';
import { GroupCommit } from '../../database/group-commit.js';
import { WebhookDeliveriesStore, type DeliveryChange } from './webhook-deliveries.store.js';
import { WebhookMetrics } from './webhook-metrics.js';
import { WebhookQueue, type NewJob, type TakenJob } from './webhook-queue.js';
import {
  WebhookSubscriptionsStore,
  type DisabledEndpoint,
  type EndpointNews,
} from './webhook-subscriptions.store.js';

/** How a job ended. Without a change, it had nothing to do. */
interface Turn {
  job: TakenJob;
  change: DeliveryChange | null;
  /** Set when the try says something new about its endpoint. */
  news: EndpointNews | null;
}

/**
 * Records how jobs ended. Jobs that end together share a transaction, which writes the deliveries, the log, the end of
 * each job and the job of the next try, all or nothing. So no try is forgotten, and no delivery is left without a job.
 */
@Injectable()
export class WebhookRecorder {
  private readonly logger = new Logger(WebhookRecorder.name);
  private readonly group: GroupCommit<Turn, void>;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly queue: WebhookQueue,
    private readonly deliveries: WebhookDeliveriesStore,
    private readonly subscriptions: WebhookSubscriptionsStore,
    private readonly metrics: WebhookMetrics,
  ) {
    this.group = new GroupCommit((turns) => this.commit(turns), { failsForAll: isDatabaseUnavailable });
  }

  /** Rejects if the turn was perhaps not written. Then the job comes back, and the endpoint gets the event again. */
  record(turn: Turn): Promise<void> {
    return this.group.submit(turn);
  }

  private async commit(turns: Turn[]): Promise<void[]> {
    const sorted = turns.toSorted(byDelivery);
    const changes = sorted.flatMap(({ change }) => (change ? [change] : []));
    const disabled = await this.queue.transaction(async (tx) => {
      const [applied, noted] = await Promise.all([
        this.deliveries.apply(tx, changes),
        this.subscriptions.note(tx, newsOf(sorted), this.config.webhooks.disableAfterMs),
        this.deliveries.log(
          tx,
          changes.flatMap(({ job, logged }) => (logged ? [{ job, logged }] : [])),
        ),
        tx.remove(sorted.map(({ job }) => job)),
      ]);
      await tx.add(changes.filter(({ job }) => applied.has(job.webhookDeliveryId)).flatMap(nextJob));
      return noted;
    });
    this.reportDisabled(disabled);
    return turns.map(() => undefined);
  }

  private reportDisabled(disabled: readonly DisabledEndpoint[]): void {
    for (const { reason, webhookEndpointId } of disabled) {
      if (reason === null) continue;
      this.metrics.endpointDisabled(reason);
      this.logger.warn(`webhook endpoint ${webhookEndpointId} was disabled: ${reason}`);
    }
  }
}

function nextJob({ job, group, next }: DeliveryChange): NewJob[] {
  if (next === null) return [];
  const { merchantId, webhookDeliveryId } = job;
  return [{ merchantId, webhookDeliveryId, group, jobId: next.jobId, delayMs: next.delayMs }];
}

/** One item per URL: one success among several tries counts as success. Sorted, so that no two groups deadlock. */
function newsOf(turns: readonly Turn[]): EndpointNews[] {
  const news = new Map<string, EndpointNews>();
  for (const { news: next } of turns) {
    if (next === null) continue;
    const place = `${next.webhookEndpointId} ${next.url}`;
    const before = news.get(place);
    news.set(place, before === undefined ? next : merged(before, next));
  }
  return [...news.values()].toSorted((a, b) => (a.webhookEndpointId < b.webhookEndpointId ? -1 : 1));
}

function merged(a: EndpointNews, b: EndpointNews): EndpointNews {
  const pauseMs = a.pauseMs === null ? b.pauseMs : Math.max(a.pauseMs, b.pauseMs ?? 0);
  return { ...a, succeeded: a.succeeded || b.succeeded, gone: a.gone || b.gone, pauseMs };
}

function byDelivery(a: Turn, b: Turn): number {
  return a.job.webhookDeliveryId < b.job.webhookDeliveryId ? -1 : 1;
}
