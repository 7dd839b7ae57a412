import type { EventSink } from '../../src/events/event-sink.js';
import type { OutboxEvent } from '../../src/events/event.js';

/** A sink that records the events it is given. A test can make it fail or wait. */
export class RecordingSink implements EventSink {
  /** Every event that it took, in order, including repeats. */
  readonly taken: OutboxEvent[] = [];
  /** Every batch that it was offered, taken or not. */
  readonly offered: (readonly OutboxEvent[])[] = [];

  constructor(
    readonly name: string,
    private readonly before: (events: readonly OutboxEvent[]) => Promise<void> | void = () => undefined,
  ) {}

  async handOn(events: readonly OutboxEvent[]): Promise<void> {
    this.offered.push(events);
    await this.before(events);
    this.taken.push(...events);
  }

  /** The events of each payment, in the order of their first arrival. */
  firstSequences(): Map<string, number[]> {
    const seen = new Set<string>();
    const sequences = new Map<string, number[]>();
    for (const { eventId, transactionId, sequence } of this.taken) {
      if (seen.has(eventId)) continue;
      seen.add(eventId);
      sequences.set(transactionId, [...(sequences.get(transactionId) ?? []), sequence]);
    }
    return sequences;
  }
}
