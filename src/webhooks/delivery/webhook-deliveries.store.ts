import { Injectable } from '@nestjs/common';
import { batchOf } from '../../database/batch.js';
import { PipelinedTransactions, type Transaction } from '../../database/pipelined-transactions.js';
import type { OutboxEvent } from '../../events/event.js';
import type { EventType } from '../../events/event.js';
import { firstUuidAt } from '../../ids/uuidv7.js';
import type { DeliveryStatus } from './webhook-delivery.entity.js';

/** A job of the queue, and the delivery that it tries. */
export interface DeliveryJob {
  jobId: string;
  merchantId: string;
  webhookDeliveryId: string;
}

/** An event for an endpoint. The delivery's id is used only if the endpoint has no delivery of this event yet. */
export interface NewDelivery extends DeliveryJob {
  webhookEndpointId: string;
  eventId: string;
  eventType: EventType;
}

/** A delivery whose turn it is, with everything that a try needs. */
export interface DueDelivery extends DeliveryJob {
  webhookEndpointId: string;
  /** How many pauses of the schedule it has used. */
  pause: number;
  url: string;
  /** The current secret first. */
  secrets: string[];
  enabled: boolean;
  /** How long every try has been failing; null when the last one succeeded. */
  failingForMs: number | null;
  /** How long the endpoint still asked us to wait. */
  pausedForMs: number;
  event: OutboxEvent;
}

export interface LoggedTry {
  webhookTryId: string;
  triedAt: Date;
  durationMs: number;
  responseStatus: number | null;
  responseBody: string | null;
  error: string | null;
}

/** A delivery's new state. With `next` it is tried again after that pause; without, it has ended. */
export interface DeliveryChange {
  job: DeliveryJob;
  /** The group of the next job: the endpoint. */
  group: string;
  status: DeliveryStatus;
  pause: number;
  next: { jobId: string; delayMs: number } | null;
  logged: LoggedTry | null;
}

/**
 * How far an event's time may be from the time in its id. The range of ids only saves us from reading all other events.
 */
const ID_SLACK_MS = 60_000;

export interface EventRange {
  merchantId: string;
  eventTypes: EventType[] | null;
  createdGte: Date;
  createdLt: Date;
  /** Only events after this one, the last of the previous page. */
  after: string | undefined;
}

const NEW_DELIVERIES = batchOf<NewDelivery>({
  merchant_id: ['uuid', (delivery) => delivery.merchantId],
  webhook_delivery_id: ['uuid', (delivery) => delivery.webhookDeliveryId],
  webhook_endpoint_id: ['uuid', (delivery) => delivery.webhookEndpointId],
  event_id: ['uuid', (delivery) => delivery.eventId],
  event_type: ['text', (delivery) => delivery.eventType],
  job_id: ['uuid', (delivery) => delivery.jobId],
});

const JOBS = batchOf<DeliveryJob>({
  job_id: ['uuid', (job) => job.jobId],
  merchant_id: ['uuid', (job) => job.merchantId],
  webhook_delivery_id: ['uuid', (job) => job.webhookDeliveryId],
});

const CHANGES = batchOf<DeliveryChange>({
  merchant_id: ['uuid', ({ job }) => job.merchantId],
  webhook_delivery_id: ['uuid', ({ job }) => job.webhookDeliveryId],
  job_id: ['uuid', ({ job }) => job.jobId],
  status: ['text', ({ status }) => status],
  pause: ['int', ({ pause }) => pause],
  tried: ['boolean', ({ logged }) => logged !== null],
  next_job_id: ['uuid', ({ next }) => next?.jobId ?? null],
  delay_ms: ['float8', ({ next }) => next?.delayMs ?? null],
});

const TRIES = batchOf<{ job: DeliveryJob; logged: LoggedTry }>({
  merchant_id: ['uuid', ({ job }) => job.merchantId],
  webhook_delivery_id: ['uuid', ({ job }) => job.webhookDeliveryId],
  webhook_try_id: ['uuid', ({ logged }) => logged.webhookTryId],
  tried_at: ['timestamptz', ({ logged }) => logged.triedAt],
  duration_ms: ['int', ({ logged }) => logged.durationMs],
  response_status: ['smallint', ({ logged }) => logged.responseStatus],
  response_body: ['text', ({ logged }) => logged.responseBody],
  error: ['text', ({ logged }) => logged.error],
});

/**
 * The SQL of `webhook_deliveries` and `webhook_tries` for delivering. Statements that take a transaction run on the
 * queue's own connections, in the transaction that also changes its jobs.
 */
@Injectable()
export class WebhookDeliveriesStore {
  constructor(private readonly transactions: PipelinedTransactions) {}

  /**
   * Schedules deliveries, due now.
   * @param again which deliveries start over if they exist already: with `none` they all keep their turn, with
   * `undelivered` the delivered ones stay as they are, with `all` every one starts over.
   * @returns the jobs to add to the queue.
   */
  async schedule(
    tx: Transaction,
    deliveries: readonly NewDelivery[],
    again: 'none' | 'undelivered' | 'all',
  ): Promise<DeliveryJob[]> {
    const { rows } = await tx.query<DeliveryJob>({
      name: 'webhook_deliveries.schedule',
      text: `
        INSERT INTO webhook_deliveries AS d
          (merchant_id, webhook_delivery_id, webhook_endpoint_id, event_id, event_type, job_id, next_try_at)
        SELECT i.*, clock_timestamp()
        FROM ${NEW_DELIVERIES.rows('i')}
        ON CONFLICT (merchant_id, webhook_endpoint_id, event_id) DO UPDATE
          SET status = 'pending', job_id = EXCLUDED.job_id, pause = 0, next_try_at = clock_timestamp(),
            updated_at = clock_timestamp()
          WHERE $${NEW_DELIVERIES.next} = 'all' OR $${NEW_DELIVERIES.next} = 'undelivered' AND d.status <> 'delivered'
        RETURNING d.job_id AS "jobId", d.merchant_id AS "merchantId", d.webhook_delivery_id AS "webhookDeliveryId"`,
      values: [...NEW_DELIVERIES.values(deliveries), again],
    });
    return rows;
  }

  /** Starts a delivery's schedule over, due now. False when there is no such delivery. */
  async restart(tx: Transaction, { merchantId, webhookDeliveryId, jobId }: DeliveryJob): Promise<boolean> {
    const { rowCount } = await tx.query({
      name: 'webhook_deliveries.restart',
      text: `
        UPDATE webhook_deliveries
        SET status = 'pending', job_id = $3::uuid, pause = 0, next_try_at = clock_timestamp(),
          updated_at = clock_timestamp()
        WHERE merchant_id = $1::uuid AND webhook_delivery_id = $2::uuid`,
      values: [merchantId, webhookDeliveryId, jobId],
    });
    return rowCount === 1;
  }

  /**
   * The deliveries that the jobs try. A job without one has nothing left to do: its delivery waits for another job. The
   * statement finds deliveries by key first. Otherwise, without statistics, the planner would read everything that was
   * ever sent to an endpoint to join the four tables.
   */
  async load(
    queue: { read: PipelinedTransactions['read'] },
    jobs: readonly DeliveryJob[],
  ): Promise<DueDelivery[]> {
    const rows = await queue.read<DueDeliveryRow>({
      name: 'webhook_deliveries.load',
      text: `
        WITH due AS MATERIALIZED (
          SELECT d.merchant_id, d.webhook_delivery_id, d.webhook_endpoint_id, d.event_id, d.job_id, d.pause
          FROM ${JOBS.rows('i')}
          JOIN webhook_deliveries d USING (merchant_id, webhook_delivery_id)
          WHERE d.job_id = i.job_id
        )
        SELECT d.job_id AS "jobId", d.merchant_id AS "merchantId", d.webhook_delivery_id AS "webhookDeliveryId",
          d.webhook_endpoint_id AS "webhookEndpointId", d.pause, e.url, e.enabled,
          array_remove(
            ARRAY[e.secret, CASE WHEN e.previous_secret_expires_at > clock_timestamp() THEN e.previous_secret END], NULL
          ) AS secrets,
          extract(epoch FROM clock_timestamp() - e.failing_since)::float8 * 1000 AS "failingForMs",
          greatest(0, extract(epoch FROM e.paused_until - clock_timestamp()) * 1000)::float8 AS "pausedForMs",
          v.event_id AS "eventId", v.type, v.transaction_id AS "transactionId", v.sequence,
          v.created_at AS "createdAt", v.resource::text AS resource
        FROM due d
        JOIN webhook_endpoints e USING (merchant_id, webhook_endpoint_id)
        JOIN events v USING (merchant_id, event_id)`,
      values: JOBS.values(jobs),
    });
    return rows.map(({ eventId, type, transactionId, sequence, createdAt, resource, ...delivery }) => {
      const { merchantId } = delivery;
      const event = { merchantId, eventId, type, transactionId, sequence, createdAt, resource };
      return { ...delivery, event };
    });
  }

  /**
   * Changes deliveries, each only if it still waits for the job that tried it.
   * @returns the ids of those that changed.
   */
  async apply(tx: Transaction, changes: readonly DeliveryChange[]): Promise<Set<string>> {
    const { rows } = await tx.query<{ webhookDeliveryId: string }>({
      name: 'webhook_deliveries.apply',
      text: `
        UPDATE webhook_deliveries d
        SET status = i.status, pause = i.pause, tries = d.tries + i.tried::int, job_id = i.next_job_id,
          next_try_at = clock_timestamp() + i.delay_ms * interval '1 millisecond', updated_at = clock_timestamp()
        FROM ${CHANGES.rows('i')}
        WHERE d.merchant_id = i.merchant_id AND d.webhook_delivery_id = i.webhook_delivery_id AND d.job_id = i.job_id
        RETURNING d.webhook_delivery_id AS "webhookDeliveryId"`,
      values: CHANGES.values(changes),
    });
    return new Set(rows.map((row) => row.webhookDeliveryId));
  }

  /** Logs tries, including those of a worker that we believed to be dead: the endpoint received them all. */
  async log(tx: Transaction, tries: readonly { job: DeliveryJob; logged: LoggedTry }[]): Promise<void> {
    if (tries.length === 0) return;
    await tx.query({
      name: 'webhook_tries.log',
      text: `
        INSERT INTO webhook_tries
          (merchant_id, webhook_delivery_id, webhook_try_id, tried_at, duration_ms, response_status, response_body, error)
        SELECT i.* FROM ${TRIES.rows('i')}
        JOIN webhook_deliveries d USING (merchant_id, webhook_delivery_id)
        ON CONFLICT DO NOTHING`,
      values: TRIES.values(tries),
    });
  }

  /** A range of a merchant's events, oldest first, read by id because an event's id begins with its time. */
  async events(range: EventRange, limit: number): Promise<{ eventId: string; eventType: EventType }[]> {
    return this.transactions.read({
      name: 'webhook_deliveries.events',
      text: `
        SELECT event_id AS "eventId", type AS "eventType"
        FROM events
        WHERE merchant_id = $1::uuid AND event_id >= $2::uuid AND event_id < $3::uuid AND event_id > $4::uuid
          AND created_at >= $5 AND created_at < $6 AND ($7::text[] IS NULL OR type = ANY($7::text[]))
        ORDER BY event_id LIMIT $8`,
      values: [
        range.merchantId,
        firstUuidAt(new Date(range.createdGte.getTime() - ID_SLACK_MS)),
        firstUuidAt(new Date(range.createdLt.getTime() + ID_SLACK_MS)),
        range.after ?? '00000000-0000-0000-0000-000000000000',
        range.createdGte,
        range.createdLt,
        range.eventTypes,
        limit,
      ],
    });
  }

  /** Deletes deliveries older than the retention, with their tries, and returns how many. */
  async reap(retentionMs: number, limit: number): Promise<number> {
    const rows = await this.transactions.read({
      name: 'webhook_deliveries.reap',
      text: `
        DELETE FROM webhook_deliveries d
        USING (
          SELECT merchant_id, webhook_delivery_id FROM webhook_deliveries
          WHERE created_at < clock_timestamp() - $1 * interval '1 millisecond' AND status <> 'pending'
          ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ) reaped
        WHERE d.merchant_id = reaped.merchant_id AND d.webhook_delivery_id = reaped.webhook_delivery_id
        RETURNING 1`,
      values: [retentionMs, limit],
    });
    return rows.length;
  }
}

type DueDeliveryRow = Omit<DueDelivery, 'event'> & OutboxEvent;
