import {
  Inject,
  Injectable,
  Logger,
  type BeforeApplicationShutdown,
  type OnApplicationBootstrap,
} from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONFIG, type Config } from '../../config/config.js';
import { uuidv7 } from '../../ids/uuidv7.js';
import { Backoff } from '../../time/backoff.js';
import { Clock } from '../../time/clock.js';
import { Worker, type Next } from '../../time/worker.js';
import { WebhookDeliveriesStore, type DeliveryChange, type DueDelivery } from './webhook-deliveries.store.js';
import { WebhookSubscriptionsStore, type EndpointNews } from './webhook-subscriptions.store.js';
import { messageBody, messageHeaders } from './webhook-message.js';
import { WebhookMetrics, type TurnEnd } from './webhook-metrics.js';
import { WebhookQueue, type TakenJob } from './webhook-queue.js';
import { WebhookRecorder } from './webhook-recorder.js';
import {
  FAILING_AFTER_MS,
  jittered,
  judge,
  waitOfOthers,
  type TryResult,
  type Verdict,
} from './webhook-schedule.js';
import { WebhookSender } from './webhook-sender.js';

/**
 * A waiting try costs a socket and some kilobytes. To use this up takes twenty endpoints that are all slow and do not
 * fail.
 */
const MAX_IN_FLIGHT = 500;
/** For one endpoint across all processes, so that a slow one holds only a small part of the limit above. */
export const MAX_IN_FLIGHT_PER_ENDPOINT = 25;
const BATCH_SIZE = 100;
/** How late we may notice a retry. We notice events handed on in this process at once. */
const POLL_MS = 1_000;
/** Jobs taken together are also recorded together, so a short wait makes both groups larger. */
const PACE_MS = 10;
/** How often a service without endpoints looks for the first one, which another process may have created. */
const FIRST_LOOK_MS = 2_000;
/** How long a shutdown waits for tries under way; the rest of its time belongs to others. */
const SHUTDOWN_PATIENCE_MS = 2_000;

/** Takes jobs from the queue and delivers, many at a time but few per endpoint. Any number of processes may run one. */
@Injectable()
export class WebhookDispatcher implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private readonly logger = new Logger(WebhookDispatcher.name);
  private readonly inFlight = new Map<string, TakenJob>();
  private readonly inFlightOf = new Map<string, number>();
  private readonly cutOff = new AbortController();
  private readonly worker = new Worker({
    name: WebhookDispatcher.name,
    runOnce: () => this.runOnce(),
    backoff: new Backoff({ firstMs: POLL_MS, longestMs: POLL_MS }),
  });
  private hasEndpoints = false;
  private failing = false;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    private readonly subscriptions: WebhookSubscriptionsStore,
    private readonly deliveries: WebhookDeliveriesStore,
    private readonly queue: WebhookQueue,
    private readonly recorder: WebhookRecorder,
    private readonly sender: WebhookSender,
    private readonly clock: Clock,
    private readonly metrics: WebhookMetrics,
  ) {}

  onApplicationBootstrap(): void {
    this.worker.start();
  }

  /** Puts back the jobs of tries that do not end in time, so that another process repeats them at once. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.worker.stop();
    const giveUpAtMs = this.clock.monotonicMs() + SHUTDOWN_PATIENCE_MS;
    while (this.inFlight.size > 0 && this.clock.monotonicMs() < giveUpAtMs) await sleep(10);
    this.cutOff.abort();
    await this.queue
      .putBack([...this.inFlight.values()])
      .catch((error: unknown) => this.logger.warn(`could not give jobs back: ${String(error)}`));
  }

  /** Call it when there is something to do, or room to do it. */
  wake(): void {
    this.worker.wake();
  }

  private async runOnce(): Promise<Next> {
    this.hasEndpoints ||= await this.subscriptions.any().catch(() => false);
    if (!this.hasEndpoints) return { idleMs: FIRST_LOOK_MS };
    const room = MAX_IN_FLIGHT - this.inFlight.size;
    if (room === 0) return { idleMs: POLL_MS };
    try {
      const jobs = await this.queue.take(Math.min(room, BATCH_SIZE), MAX_IN_FLIGHT_PER_ENDPOINT);
      if (jobs.length > 0) await this.start(jobs);
      this.failing = false;
      return jobs.length > 0 ? { pauseMs: PACE_MS } : { idleMs: POLL_MS };
    } catch (error) {
      // Warn once per outage: the service reports elsewhere that its database is down.
      if (!this.failing) this.logger.warn(`could not take webhook jobs: ${String(error)}`);
      this.failing = true;
      return 'failed';
    }
  }

  private async start(jobs: TakenJob[]): Promise<void> {
    for (const job of jobs) this.inFlight.set(job.jobId, job);
    try {
      const due = await this.deliveries.load(this.queue, jobs);
      const byJob = new Map(due.map((delivery) => [delivery.jobId, delivery]));
      for (const job of jobs) void this.turn(job, byJob.get(job.jobId));
    } catch (error) {
      for (const { jobId } of jobs) this.inFlight.delete(jobId);
      await this.queue.putBack(jobs).catch(() => undefined);
      throw error;
    }
  }

  private async turn(job: TakenJob, delivery: DueDelivery | undefined): Promise<void> {
    let end: TurnEnd;
    try {
      end = await this.take(job, delivery);
    } catch (error) {
      // The job's time runs out, and it comes back.
      end = 'not_recorded';
      this.logger.warn(`could not record a turn of webhook job ${job.jobId}: ${String(error)}`);
    }
    if (this.inFlight.delete(job.jobId)) this.metrics.turnEnded(end);
    this.wake();
  }

  private async take(job: TakenJob, delivery: DueDelivery | undefined): Promise<TurnEnd> {
    if (delivery === undefined || !delivery.enabled) {
      const change = delivery ? changeOf(delivery, { status: 'canceled' }) : null;
      await this.recorder.record({ job, change, news: null });
      return 'canceled';
    }
    const waitMs = this.waitOf(delivery);
    if (waitMs > 0) {
      const change = changeOf(delivery, { status: 'pending', delayMs: waitMs });
      await this.recorder.record({ job, change, news: null });
      return 'waited';
    }
    return this.try(job, delivery);
  }

  /** How long to wait before trying: the endpoint asked for a pause, or is failing and busy with another try. */
  private waitOf({ webhookEndpointId, pausedForMs, failingForMs }: DueDelivery): number {
    if (pausedForMs > 0) return jittered(pausedForMs);
    const others = this.inFlightOf.get(webhookEndpointId) ?? 0;
    if (failingForMs === null || failingForMs < FAILING_AFTER_MS || others === 0) return 0;
    return waitOfOthers(failingForMs);
  }

  private async try(job: TakenJob, delivery: DueDelivery): Promise<TurnEnd> {
    const triedAt = this.clock.now();
    const beganAtMs = this.clock.monotonicMs();
    const result = await this.send(delivery, triedAt);
    // Our own shutdown cut the try off. That is not the endpoint's failure, and the job was put back.
    if (this.cutOff.signal.aborted && result.error !== null) return 'not_recorded';
    const durationMs = Math.round(this.clock.monotonicMs() - beganAtMs);
    const verdict = judge(result, delivery.pause, this.config.webhooks);
    const { responseStatus, responseBody, error } = result;
    const logged = {
      webhookTryId: uuidv7(triedAt.getTime()),
      triedAt,
      durationMs,
      responseStatus,
      responseBody,
      error,
    };
    const change = { ...changeAfter(delivery, verdict), logged };
    await this.recorder.record({
      job,
      change,
      news: newsOf(delivery, verdict, this.config.webhooks.disableAfterMs),
    });
    return verdict.kind;
  }

  private async send({ url, secrets, event, webhookEndpointId }: DueDelivery, now: Date): Promise<TryResult> {
    const beganAtMs = this.clock.monotonicMs();
    this.inFlightOf.set(webhookEndpointId, (this.inFlightOf.get(webhookEndpointId) ?? 0) + 1);
    this.metrics.tryBegan();
    try {
      const body = messageBody(event);
      const headers = messageHeaders(event.eventId, body, secrets, now);
      return await this.sender.send({ url, headers, body }, this.cutOff.signal);
    } finally {
      this.metrics.tryEnded(this.clock.monotonicMs() - beganAtMs);
      const left = (this.inFlightOf.get(webhookEndpointId) ?? 1) - 1;
      if (left > 0) this.inFlightOf.set(webhookEndpointId, left);
      else this.inFlightOf.delete(webhookEndpointId);
    }
  }
}

function changeOf(
  delivery: DueDelivery,
  { status, delayMs }: { status: DeliveryChange['status']; delayMs?: number },
): DeliveryChange {
  const next = delayMs === undefined ? null : { jobId: uuidv7(), delayMs };
  return {
    job: delivery,
    group: delivery.webhookEndpointId,
    status,
    pause: delivery.pause,
    next,
    logged: null,
  };
}

function changeAfter(delivery: DueDelivery, verdict: Verdict): DeliveryChange {
  switch (verdict.kind) {
    case 'delivered':
    case 'failed':
      return changeOf(delivery, { status: verdict.kind });
    case 'gone':
      // Its next turn finds the endpoint disabled, or with a new address that this answer says nothing about.
      return changeOf(delivery, { status: 'pending', delayMs: 0 });
    case 'retry':
      return {
        ...changeOf(delivery, { status: 'pending', delayMs: verdict.delayMs }),
        pause: delivery.pause + 1,
      };
  }
}

/** Null when the endpoint's row already says so: if every try wrote that row, all tries would wait for its lock. */
function newsOf(delivery: DueDelivery, verdict: Verdict, disableAfterMs: number): EndpointNews | null {
  const { merchantId, webhookEndpointId, url, failingForMs } = delivery;
  const succeeded = verdict.kind === 'delivered';
  const gone = verdict.kind === 'gone';
  const pauseMs = 'pauseMs' in verdict ? verdict.pauseMs : null;
  const known = succeeded ? failingForMs === null : failingForMs !== null && failingForMs < disableAfterMs;
  if (known && !gone && pauseMs === null) return null;
  return { merchantId, webhookEndpointId, url, succeeded, pauseMs, gone };
}
