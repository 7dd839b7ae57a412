import type { EventSink } from '../../src/events/event-sink.js';
import type { OutboxEvent } from '../../src/events/event.js';

/** A sink that keeps what it is handed, and does on the way what a test wants it to. */
export class RecordingSink implements EventSink {
  /** Every event that it has taken, in that order, repeats included. */
  readonly taken: OutboxEvent[] = [];
  /** What it was offered, a batch each, taken or not. */
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

  /** The events of each payment in the order in which they came first. */
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
