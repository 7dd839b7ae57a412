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

/** What became of a job. Without a change it had nothing to do. */
interface Turn {
  job: TakenJob;
  change: DeliveryChange | null;
  /** Set where the try says something new of its endpoint. */
  news: EndpointNews | null;
}

/**
 * Writes what became of jobs, those that end together in one transaction: the delivery, the line of the log, the job's
 * end and the job of the next try, all or nothing. So no try is forgotten, and no delivery is left without a job.
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

  /** Rejects when it was not written, or perhaps not: then the job comes back, and the endpoint sees the event again. */
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

/** Address by address: one success among several tries is a success. In one order, so that no two groups deadlock. */
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
