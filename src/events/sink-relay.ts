import { Logger } from '@nestjs/common';
import { uuidv7 } from '../ids/uuidv7.js';
import type { Clock } from '../time/clock.js';
import { askInTime } from '../time/deadline.js';
import type { EventOutboxStore } from './event-outbox.store.js';
import type { EventSink } from './event-sink.js';
import type { OutboxEvent } from './event.js';
import type { RelayMetrics } from './relay-metrics.js';

/** Enough for a sink to work in groups, few enough to finish well within a lease. */
export const BATCH_SIZE = 256;
const LEASE_MS = 60_000;
/** After this time the rest of a batch is put back: a call that begins later might outlast the lease. */
const WORKING_TIME_MS = LEASE_MS / 2;
/** A sink that has not answered by then has failed, whatever it does later: handing on again is harmless. */
const HAND_ON_LIMIT_MS = 10_000;
/** After this many single events refused in a row, we blame the sink and no longer the events. */
const REFUSALS_OF_A_DEAD_SINK = 3;

/** The result of one run. */
export interface Run {
  handedOn: number;
  /** True if more events may be waiting than this run could hold. */
  full: boolean;
  /** True if the sink took none of what it was offered. */
  failed: boolean;
}

interface Handover {
  taken: OutboxEvent[];
  refused: OutboxEvent[];
  untried: OutboxEvent[];
}

/**
 * Hands one sink the events that wait for it, one batch per run. No transaction is open while the sink works: a lease
 * says that a batch is being handed on, and ends by itself if this process dies.
 */
export class SinkRelay {
  private readonly logger = new Logger(SinkRelay.name);
  private failing = false;

  constructor(
    readonly sink: EventSink,
    private readonly outbox: EventOutboxStore,
    private readonly clock: Clock,
    private readonly metrics: RelayMetrics,
  ) {}

  async runOnce(): Promise<Run> {
    const { name } = this.sink;
    const leaseId = uuidv7();
    const leasedAtMs = this.clock.monotonicMs();
    // A sink that failed gets one event only: if it is still down, no others have to be leased and put back.
    const limit = this.failing ? 1 : BATCH_SIZE;
    const events = await this.outbox.lease(name, leaseId, LEASE_MS, limit);
    if (events.length === 0) return { handedOn: 0, full: false, failed: false };
    const { taken, refused, untried } = await this.handOn(events, leasedAtMs);
    this.metrics.handedOn(name, taken.length);
    this.metrics.refused(name, refused.length);
    if (taken.length > 0) await this.outbox.forget(name, leaseId, idsOf(taken));
    if (refused.length > 0) await this.outbox.postpone(name, leaseId, idsOf(refused));
    if (untried.length > 0) await this.outbox.giveBack(name, leaseId, idsOf(untried));
    const wasFailing = this.failing;
    this.failing = taken.length === 0 && refused.length > 0;
    return {
      handedOn: taken.length,
      full: events.length === BATCH_SIZE || (wasFailing && !this.failing),
      failed: this.failing,
    };
  }

  /**
   * Offers all at once. If the sink refuses, offers them one by one, so that an event it cannot take holds up only its
   * own payment.
   */
  private async handOn(events: OutboxEvent[], leasedAtMs: number): Promise<Handover> {
    // A process that was paused past its lease finds out here: another relay may have the events by now.
    if (this.isTooLate(leasedAtMs)) return { taken: [], refused: [], untried: events };
    if (await this.takes(events)) return { taken: events, refused: [], untried: [] };
    if (events.length === 1) return { taken: [], refused: events, untried: [] };
    const handover: Handover = { taken: [], refused: [], untried: [] };
    let refusalsInARow = 0;
    for (const event of events) {
      if (refusalsInARow === REFUSALS_OF_A_DEAD_SINK || this.isTooLate(leasedAtMs)) {
        handover.untried.push(event);
      } else if (await this.takes([event])) {
        handover.taken.push(event);
        refusalsInARow = 0;
      } else {
        handover.refused.push(event);
        refusalsInARow += 1;
      }
    }
    return handover;
  }

  private async takes(events: OutboxEvent[]): Promise<boolean> {
    const ended = await askInTime(() => this.sink.handOn(events), { limitMs: HAND_ON_LIMIT_MS });
    if (ended.kind === 'answered') return true;
    const which = events.length === 1 ? `event ${events[0]?.eventId}` : `${events.length} events`;
    const reason = ended.kind === 'late' ? `no answer within ${HAND_ON_LIMIT_MS} ms` : textOf(ended.error);
    this.logger.warn(`${this.sink.name} did not take ${which}: ${reason}`);
    return false;
  }

  private isTooLate(leasedAtMs: number): boolean {
    return this.clock.monotonicMs() - leasedAtMs > WORKING_TIME_MS;
  }
}

function idsOf(events: readonly OutboxEvent[]): string[] {
  return events.map(({ eventId }) => eventId);
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
